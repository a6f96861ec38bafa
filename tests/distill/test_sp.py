"""SP against loops, HeadSharingKD's numbers and TFace's."""

import pytest
import torch
from authors_numbers import close, fixture
from slow import LABELS, B, Batch, compare, scalars_dot
from torch import Tensor

from facekd.distill import Objective, Step, build_terms, expand
from facekd.distill.sp import SP
from facekd.heads import Classifier


def slow_gram(z: Tensor, normalize: str) -> list[list[Tensor]]:
    if normalize == "embeddings":
        z = [v / torch.sqrt(scalars_dot(v, v)) for v in z]
        return [[scalars_dot(a, b) for b in z] for a in z]
    rows = [[scalars_dot(a, b) for b in z] for a in z]
    return [[v / torch.sqrt(sum(u * u for u in row)) for v in row] for row in rows]


@pytest.mark.parametrize("teacher_dim", [4, 7])
@pytest.mark.parametrize("normalize", ["rows", "embeddings"])
def test_sp(normalize, teacher_dim):
    def slow(batch: Batch) -> Tensor:
        student, teacher = slow_gram(batch.z, normalize), slow_gram(batch.t, normalize)
        pairs = [(i, j) for i in range(B) for j in range(B)]
        return sum((teacher[i][j] - student[i][j]) ** 2 for i, j in pairs) / B**2

    compare(SP(normalize=normalize), slow, lambda: Batch(teacher_dim))


@pytest.mark.parametrize(
    ("name", "normalize"), [("headsharing_relations", "rows"), ("tface_distances", "embeddings")]
)
def test_authors_sp(name, normalize):
    inputs, results = fixture(name)
    z = inputs["student"].requires_grad_()
    step = Step(z, torch.zeros(6), torch.arange(6), inputs["teacher"])
    value = SP(normalize=normalize)(step)
    close(value, results["sp"]["value"])
    value.backward()
    close(z.grad, results["sp"]["gradients"]["student"])


@pytest.mark.parametrize("normalize", ["rows", "embeddings"])
def test_what_the_batch_cannot_tell_is_zero(normalize):
    term, batch = SP(normalize=normalize), Batch(7)
    rotation = torch.linalg.qr(torch.randn(7, 7, dtype=torch.float64)).Q
    same = Step(3 * batch.t @ rotation, LABELS, torch.arange(B), batch.t)
    assert term(same).item() == pytest.approx(0, abs=1e-12)
    alone = Step(batch.z[:1], LABELS[:1], torch.arange(1), batch.t[:1])
    assert term(alone).item() == pytest.approx(0, abs=1e-12)


def test_preset():
    specs = expand({"preset": "sp", "margin": "cosface"})
    assert specs[1] == {"term": "sp", "weight": 3000.0, "normalize": "rows"}
    z, own = torch.randn(B, 4, requires_grad=True), Classifier(6, 4)
    total, values = Objective(build_terms(specs), own)(
        z, LABELS, torch.arange(B), torch.randn(B, 7)
    )
    total.backward()
    torch.testing.assert_close(total, values["margin"] + 3000 * values["sp"])
    assert z.grad.isfinite().all()
