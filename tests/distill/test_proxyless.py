"""ProxylessKD's presets against a loop."""

import math

import pytest
import torch
from slow import LABELS, B, Batch, slow_cross_entropy

from facekd.distill import Objective, build_terms, expand


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("arcdistill", lambda c: torch.cos(torch.acos(c) + 0.3)),
        ("cosdistill", lambda c: c - 0.3),
        ("proxyless", lambda c: torch.cos(torch.acos(c) + 0.3)),
    ],
)
def test_the_student_learns_under_the_teachers_head(name, target):
    ours, loops = Batch(), Batch()
    objective = Objective(
        build_terms(expand({"preset": name, "m": 0.3, "scale": 8.0})), None, ours.other
    )
    assert objective.needs == {"labels", "teacher_head", "projector"}, "no pass of the teacher"
    total, _ = objective(ours.z, LABELS, torch.arange(B))
    expected = torch.zeros((), dtype=torch.float64)
    for row, label in zip(loops.rows(loops.z, loops.other, 1.0), LABELS.tolist(), strict=True):
        assert torch.acos(row[label]) < math.pi - 0.3
        row[label] = target(row[label])
        expected = expected + slow_cross_entropy([8.0 * v for v in row], label) / B
    torch.testing.assert_close(total, expected, rtol=1e-10, atol=0)
    for a, b in zip(ours.gradients(total), loops.gradients(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)
    assert ours.other.weight.grad is None


def test_the_names_stand_for_margins():
    assert expand("arcdistill") == expand({"preset": "proxyless", "margin": "arcface", "m": 0.5,
                                           "scale": 64.0})  # fmt: skip
    assert expand("cosdistill") == expand({"preset": "proxyless", "margin": "cosface", "m": 0.35,
                                           "scale": 64.0})  # fmt: skip
