"""ReFO's two losses, by two loops that share nothing."""

import math

import pytest
import torch

from facekd.distill import Objective, build_terms, expand
from facekd.errors import FacekdError
from facekd.heads import Classifier

LABELS = [2, 0, 3, 1, 0]


def by_components(z, t):
    """1/B sum_i sum_k (z_ik/|z_i| - t_ik/|t_i|)^2."""
    total = 0.0
    for a, b in zip(z, t, strict=True):
        total += sum(
            (x / math.hypot(*a) - y / math.hypot(*b)) ** 2 for x, y in zip(a, b, strict=True)
        )
    return total / len(z)


def by_angles(z, t):
    """The chord of the angle between the two, squared: (2 sin(t/2))^2."""
    total = 0.0
    for a, b in zip(z, t, strict=True):
        dot = sum(a[k] * b[k] for k in range(len(a)))
        theta = math.acos(dot / (sum(x * x for x in a) * sum(x * x for x in b)) ** 0.5)
        total += (2 * math.sin(theta / 2)) ** 2
    return total / len(z)


def arcface(z, weight, m, s):
    total = 0.0
    for v, label in zip(z, LABELS, strict=True):
        cosines = [
            sum(x * y for x, y in zip(v, w, strict=True)) / math.hypot(*v) / math.hypot(*w)
            for w in weight
        ]
        cosines[label] = math.cos(math.acos(cosines[label]) + m)
        top = max(cosines)
        total += math.log(sum(math.exp(s * (c - top)) for c in cosines)) - s * (
            cosines[label] - top
        )
    return total / len(z)


@pytest.mark.parametrize("distance", [by_components, by_angles])
def test_both_losses(distance):
    rng = torch.Generator().manual_seed(2)
    z, t, weight = (torch.randn(n, 4, generator=rng, dtype=torch.float64) for n in (5, 5, 4))
    z.requires_grad_()
    numbers = z.tolist(), t.tolist()

    student = Objective(build_terms(expand("refo")))
    assert student.needs == {"teacher_embeddings", "projector"}, "no labels and no classifier"
    total, _ = student(z, torch.full((5,), -1), torch.arange(5), t)
    assert total.item() == pytest.approx(distance(*numbers), rel=1e-10)

    specs = expand({"preset": "refo_teacher", "beta": 0.7, "m": 0.2, "scale": 8.0})
    head = Classifier.from_weight(weight, frozen=False)
    teacher = Objective(build_terms(specs), head)
    total, _ = teacher(z, torch.tensor(LABELS), torch.arange(5), t)
    expected = arcface(numbers[0], weight.tolist(), 0.2, 8.0) + 0.7 * distance(*numbers)
    assert total.item() == pytest.approx(expected, rel=1e-10)
    total.backward()
    assert z.grad.abs().sum() > 0
    assert head.weight.grad.abs().sum() > 0


def test_a_setting_that_refo_does_not_have_is_told():
    with pytest.raises(FacekdError, match="no setting 'm'; it has none"):
        expand({"preset": "refo", "m": 0.5})
