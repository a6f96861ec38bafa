"""Dot regression against two slow versions."""

import math

import pytest
import torch
from slow import LABELS, B, Batch, C, D, compare, slow_cosine
from torch import Tensor

from facekd.distill import Objective, Step, build_terms, expand
from facekd.distill.dot_regression import DotRegression
from facekd.errors import FacekdError
from facekd.heads import Classifier


@pytest.mark.parametrize(
    ("side", "shape"),
    [("student", (4, False)), ("teacher", (4, False)), ("teacher", (7, True))],
)
def test_dot_regression(side, shape):
    def slow(batch: Batch) -> Tensor:
        weight = (batch.own if side == "student" else batch.other).weight
        rows = batch.z if side == "student" else batch.projected
        total = torch.zeros((), dtype=torch.float64)
        for v, label in zip(rows, LABELS.tolist(), strict=True):
            total = total + (slow_cosine(v, weight[label]) - 1) ** 2 / 2
        return total / B

    compare(DotRegression(head=side), slow, lambda: Batch(*shape))


def test_a_second_slow_version_agrees():
    """On Python numbers, with vectors scaled to length 1 first."""
    batch = Batch()
    total = 0.0
    for v, label in zip(batch.z.tolist(), LABELS.tolist(), strict=True):
        w = batch.other.weight[label].tolist()
        v, w = ([x / math.sqrt(sum(y * y for y in u)) for x in u] for u in (v, w))
        dot = sum(a * b for a, b in zip(v, w, strict=True))
        total += 0.5 * (dot * dot - 2 * dot + 1)
    assert DotRegression()(batch.step).item() == pytest.approx(total / B, rel=1e-10)


def test_it_only_pulls_and_reads_one_class_vector_an_image():
    class OneByOne(Classifier):
        def cosines(self, embeddings: Tensor) -> Tensor:
            raise AssertionError("all C cosines were computed")

        logits = cosines

    own, labels = OneByOne(C, D), torch.tensor([0, 3, 3])
    z = torch.randn(3, D, requires_grad=True)
    DotRegression(head="student")(Step(z, labels, torch.arange(3), None, own)).backward()
    moved = own.weight.grad.abs().sum(dim=1) > 0
    assert moved.tolist() == [True, False, False, True, False, False]


def test_rows_without_a_label_are_left_out():
    batch = Batch()
    labels = torch.tensor([0, -1, 3, -1, 1])
    some = Step(batch.z, labels, torch.arange(B), None, batch.own, batch.other)
    keep = torch.tensor([0, 2, 4])
    only = Step(batch.z[keep], labels[keep], keep, None, batch.own, batch.other)
    for side in ("student", "teacher"):
        torch.testing.assert_close(DotRegression(head=side)(some), DotRegression(head=side)(only))
    none = Step(batch.z, torch.full((B,), -1), torch.arange(B), None, batch.own)
    value = DotRegression(head="student")(none)
    assert value.item() == 0
    assert all((g == 0).all() for g in batch.gradients(value))


def test_needs_and_errors():
    assert DotRegression().needs == {"labels", "teacher_head", "projector"}
    assert DotRegression(head="student").needs == {"labels", "student_head"}
    with pytest.raises(FacekdError, match="head for 7-wide embeddings was given 4-wide ones"):
        DotRegression()(Batch(7).step)
    with pytest.raises(FacekdError, match="needs a teacher head"):
        DotRegression()(Step(torch.randn(B, D), LABELS, torch.arange(B)))


def test_preset():
    specs = expand("dot_regression")
    assert specs[1] == {"term": "dot_regression", "weight": 1.0, "head": "teacher"}
    z, own, other = torch.randn(B, D, requires_grad=True), Classifier(C, D), Classifier(C, D)
    total, values = Objective(build_terms(specs), own, other)(z, LABELS, torch.arange(B))
    total.backward()
    torch.testing.assert_close(total, values["margin"] + values["dot_regression_teacher"])
    assert z.grad.isfinite().all()


def test_a_head_with_several_centres_has_no_one_vector_to_pull_to():
    step = Step(torch.randn(B, D), LABELS, torch.arange(B))
    step.student_head = Classifier(C, D, centres=3)
    with pytest.raises(FacekdError, match="3 centres a class has no one vector of a class"):
        DotRegression(head="student")(step)
