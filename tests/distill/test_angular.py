"""The angular term against loops and TFace's numbers; MarginDistillation's is its power 1."""

import math

import pytest
import torch
from authors_numbers import close, fixture
from slow import LABELS, B, Batch, compare, slow_cosine
from torch import Tensor

from facekd.distill import Objective, Projector, Step, build_terms, expand
from facekd.distill.angular import Angular
from facekd.distill.l2e import L2E
from facekd.errors import FacekdError
from facekd.heads import Classifier


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("shape", [(4, False), (7, True)])
def test_angular(power, shape):
    def slow(batch: Batch) -> Tensor:
        pairs = zip(batch.projected, batch.t, strict=True)
        return sum((1 - slow_cosine(s, t)) ** power for s, t in pairs) / B

    compare(Angular(power=power), slow, lambda: Batch(*shape))


@pytest.mark.parametrize("power", [1, 2])
def test_a_second_slow_version_agrees(power):
    """On Python numbers: by the angle itself, which the paper's name promises."""
    batch = Batch()
    total = 0.0
    for s, t in zip(batch.z.tolist(), batch.t.tolist(), strict=True):
        s, t = ([x / math.hypot(*v) for x in v] for v in (s, t))
        apart = math.dist(s, t)  # 2 sin(angle / 2)
        total += (2 * math.sin(math.asin(apart / 2)) ** 2) ** power
    assert Angular(power=power)(batch.step).item() == pytest.approx(total / B, rel=1e-10)


def test_authors_cosine_distance():
    inputs, results = fixture("tface_distances")
    z = inputs["student"].requires_grad_()
    value = Angular(power=1)(Step(z, torch.zeros(6), torch.arange(6), inputs["teacher"]))
    close(value, results["cosine"]["value"])
    value.backward()
    close(z.grad, results["cosine"]["gradients"]["student"])


def test_power_1_is_half_of_l2e():
    step = Batch().step
    torch.testing.assert_close(2 * Angular(power=1)(step), L2E()(step), rtol=1e-12, atol=0)


def test_edges():
    batch = Batch()
    z = torch.stack([batch.t[0], -batch.t[1], torch.zeros(4)]).requires_grad_()
    value = Angular()(Step(z, LABELS[:3], torch.arange(3), batch.t[:3]))
    value.backward()
    assert value.item() == pytest.approx((0 + 4 + 1) / 3)
    assert z.grad.isfinite().all()
    with pytest.raises(FacekdError, match=r"'angular': .* 4 wide and the teacher's 7"):
        Angular()(Batch(7).step)
    with pytest.raises(FacekdError, match="power cannot be 3"):
        build_terms([{"term": "angular", "power": 3}])


def test_preset():
    specs = expand("shrinkteanet")
    assert specs[1] == {"term": "angular", "weight": 1.0, "power": 2}
    z, projector = torch.randn(B, 4, requires_grad=True), Projector(4, 7)
    objective = Objective(build_terms(specs), Classifier(6, 4), projector=projector)
    total, values = objective(z, LABELS, torch.arange(B), torch.randn(B, 7))
    total.backward()
    torch.testing.assert_close(total, values["margin"] + values["angular"])
    assert projector[0].weight.grad.abs().sum() > 0
