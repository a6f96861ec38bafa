"""Each term against its equation written as loops over scalars, values and gradients in float64."""

import math
from collections.abc import Callable

import pytest
import torch
from slow import (
    LABELS,
    B,
    Batch,
    C,
    D,
    compare,
    scalars_dot,
    slow_cross_entropy,
    slow_kl,
)
from torch import Tensor

from facekd.distill import TERMS, Objective, Projector, Sizes, Step, build_terms
from facekd.distill.kd import KD
from facekd.distill.l2e import L2E
from facekd.distill.margin import Margin
from facekd.errors import FacekdError
from facekd.heads import Classifier
from facekd.settings import setting_names

MARGINS_BY_HAND: dict[str, tuple[dict, Callable[[Tensor], Tensor]]] = {
    "arcface": ({"m": 0.3}, lambda c: torch.cos(torch.acos(c) + 0.3)),
    "cosface": ({"m": 0.2}, lambda c: c - 0.2),
    "combined": (
        {"m1": 1.1, "m2": 0.2, "m3": 0.1},
        lambda c: torch.cos(1.1 * torch.acos(c) + 0.2) - 0.1,
    ),
}


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("name", MARGINS_BY_HAND)
def test_margin(name, side):
    settings, target = MARGINS_BY_HAND[name]

    def slow(batch: Batch) -> Tensor:
        rows = batch.rows(batch.z, batch.own if side == "student" else batch.other, 1.0)
        total = torch.zeros((), dtype=torch.float64)
        for row, label in zip(rows, LABELS.tolist(), strict=True):
            row[label] = target(row[label])
            total = total + slow_cross_entropy([16.0 * v for v in row], label)
        return total / B

    compare(Margin(head=side, margin=name, scale=16.0, **settings), slow)


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_softmax(side):
    def slow(batch: Batch) -> Tensor:
        rows = batch.rows(batch.z, batch.own if side == "student" else batch.other, None)
        pairs = zip(rows, LABELS.tolist(), strict=True)
        return sum(slow_cross_entropy(row, label) for row, label in pairs) / B

    term = Margin(head=side, margin="softmax")
    assert term.linear
    compare(term, slow)


def test_margin_defaults_are_the_papers():
    batch = Batch()
    implied = Margin()(batch.step)
    assert torch.equal(implied, Margin(margin="arcface", m=0.5, scale=64.0)(batch.step))
    implied = Margin(margin="cosface")(batch.step)
    assert torch.equal(implied, Margin(margin="cosface", m=0.35, scale=64.0)(batch.step))


def test_margin_straight_through_changes_the_gradient_only():
    true, through = Batch(), Batch()
    value = Margin()(true.step)
    other = Margin(straight_through=True)(through.step)
    assert torch.equal(value, other)
    assert not torch.allclose(true.gradients(value)[0], through.gradients(other)[0])


@pytest.mark.parametrize("margin", ["arcface", "softmax"])
def test_rows_without_a_label_are_left_out(margin):
    term, batch = Margin(margin=margin), Batch()
    some = Step(batch.z, torch.tensor([0, -1, 3, -1, 1]), torch.arange(B), None, batch.own)
    keep = torch.tensor([0, 2, 4])
    only = Step(batch.z[keep], torch.tensor([0, 3, 1]), keep, None, batch.own)
    torch.testing.assert_close(term(some), term(only))
    none = term(Step(batch.z, torch.full((B,), -1), torch.arange(B), None, batch.own))
    assert none.item() == 0
    assert all((g == 0).all() for g in batch.gradients(none))


@pytest.mark.parametrize("logits", ["cosine", "linear"])
@pytest.mark.parametrize("side", ["student", "teacher"])
def test_kd(side, logits):
    scale = 8.0 if logits == "cosine" else None

    def slow(batch: Batch) -> Tensor:
        teacher = batch.rows(batch.t, batch.other, scale)
        student = batch.rows(batch.z, batch.own if side == "student" else batch.other, scale)
        total = torch.zeros((), dtype=torch.float64)
        for t, s in zip(teacher, student, strict=True):
            total = total + slow_kl([v / 3.0 for v in t], [v / 3.0 for v in s])
        return 3.0**2 * total / B

    compare(KD(head=side, temperature=3.0, scale=scale, logits=logits), slow)


@pytest.mark.parametrize(
    "changed", [{"temperature": 2.0}, {"scale": 8.0}, {"logits": "linear"}, {"head": "teacher"}]
)
def test_kd_terms_of_one_step_do_not_disturb_each_other(changed):
    shared = Batch().step
    KD()(shared)
    assert torch.equal(KD(**changed)(shared), KD(**changed)(Batch().step))


def test_kd_is_zero_for_a_perfect_student():
    batch = Batch()
    batch.step.embeddings = batch.t.clone()
    assert KD(head="teacher")(batch.step).item() == pytest.approx(0, abs=1e-12)
    assert KD(head="student")(batch.step).item() > 0.1


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_l2e(reduction, normalize):
    def slow(batch: Batch) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for s, t in zip(batch.z, batch.t, strict=True):
            ns = torch.sqrt(scalars_dot(s, s)) if normalize else 1.0
            nt = torch.sqrt(scalars_dot(t, t)) if normalize else 1.0
            for k in range(D):
                total = total + (s[k] / ns - t[k] / nt) ** 2
        return total / B if reduction == "mean" else total

    compare(L2E(reduction=reduction, normalize=normalize), slow)


@pytest.mark.parametrize("term", [Margin(head="teacher"), KD(), KD(head="teacher"), L2E()])
def test_gradcheck(term):
    batch = Batch()

    def value(z: Tensor) -> Tensor:
        batch.step = Step(z, LABELS, torch.arange(B), batch.t, batch.own, batch.other)
        return term(batch.step)

    assert torch.autograd.gradcheck(value, batch.z)


@pytest.mark.parametrize("name", list(TERMS))
def test_extremes_are_finite(name):
    """Embeddings of length zero, equal to, and opposite to class vectors."""
    torch.manual_seed(0)
    weight = torch.randn(C, D)
    z = torch.stack([torch.zeros(D), weight[5], -weight[3], 1e4 * weight[3], 1e-4 * weight[1]])
    z.requires_grad_()
    own, other = Classifier.from_weight(weight, frozen=False), Classifier.from_weight(weight)
    t = torch.stack([weight[0], -weight[5], torch.zeros(D), weight[3], weight[1]])
    sizes = Sizes(num_images=B, num_classes=C, student_dim=D, teacher_dim=D)
    sides = ("student", "teacher") if "head" in setting_names(TERMS[name]) else (None,)
    for side in sides:
        spec = {"term": name} | ({} if side is None else {"head": side})
        objective = Objective(build_terms([spec], sizes), own, other)
        total, _ = objective(z, LABELS, torch.arange(B), t)
        total.backward()
        assert total.isfinite()
        assert z.grad.isfinite().all()
        if own.weight.grad is not None:
            assert own.weight.grad.isfinite().all()


def test_every_term_says_what_it_is_and_what_it_needs():
    for name in TERMS:
        assert TERMS[name].summary().endswith(".")
        assert "arXiv" in TERMS[name].paper
    assert Margin().needs == {"labels", "student_head"}
    assert Margin(head="teacher").needs == {"labels", "teacher_head", "projector"}
    assert KD().needs == {"student_head", "teacher_head", "teacher_embeddings"}
    assert KD(head="teacher").needs == {"teacher_head", "teacher_embeddings", "projector"}
    assert L2E().needs == {"teacher_embeddings", "projector"}


def test_step_computes_shared_tensors_once():
    calls = []

    class Counting(Classifier):
        def cosines(self, embeddings: Tensor) -> Tensor:
            calls.append(embeddings.shape[1])
            return super().cosines(embeddings)

    projector = Projector(D, 3)
    head = Counting(C, 3).freeze()
    step = Step(
        torch.randn(B, D), LABELS, torch.arange(B), torch.randn(B, 3), None, head, projector
    )
    for term in (Margin(head="teacher"), KD(head="teacher"), KD(head="teacher", temperature=2.0)):
        term(step)
    assert calls == [3, 3]  # the student's embeddings, and the teacher's
    assert projector[1].num_batches_tracked == 1


def test_step_routes_embeddings_to_heads():
    """Student under its own head: as they are; under the teacher's: projected."""
    projector = torch.nn.Linear(D, 3)
    own, other = Classifier(C, D), Classifier(C, 3)
    z, t = torch.randn(B, D), torch.randn(B, 3)
    step = Step(z, LABELS, torch.arange(B), t, own, other, projector)
    assert torch.equal(step.cosines("student", "student"), own.cosines(z))
    assert torch.equal(step.cosines("student", "teacher"), other.cosines(projector(z)))
    assert torch.equal(step.logits("teacher", "teacher"), other.logits(t))
    with pytest.raises(FacekdError, match="4-wide embeddings was given 3-wide"):
        step.cosines("teacher", "student")


def test_what_a_step_lacks_is_told():
    step = Step(torch.randn(B, D), LABELS, torch.arange(B))
    with pytest.raises(FacekdError, match="teacher head"):
        Margin(head="teacher")(step)
    with pytest.raises(FacekdError, match="teacher's embeddings"):
        L2E()(step)
    step.teacher_embeddings = torch.randn(B, 3)
    with pytest.raises(FacekdError, match="4 wide and the teacher's 3"):
        L2E()(step)
    step.teacher_head, step.student_head = Classifier(C + 1, 3), Classifier(C, D)
    with pytest.raises(FacekdError, match="6 classes and the teacher's 7"):
        KD()(step)


def test_build_terms_names_and_weights():
    built = build_terms(
        [
            {"term": "margin", "weight": 2},
            {"term": "margin", "head": "teacher"},
            {"term": "kd", "name": "soft", "weight": 0.0},
            {"term": "kd"},
        ]
    )
    assert [(name, weight) for name, weight, _ in built] == [
        ("margin", 2.0),
        ("margin_teacher", 1.0),
        ("soft", 0.0),
        ("kd", 1.0),
    ]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"term": "margn"}, "unknown term 'margn'; did you mean 'margin'"),
        ({"weight": 1.0}, "must say which"),
        ({"term": "kd", "temprature": 4}, "no setting 'temprature'; did you mean 'temperature'"),
        ({"term": "kd", "temperature": "4"}, "temperature cannot be '4'"),
        ({"term": "kd", "temperature": 0}, "greater than 0"),
        ({"term": "kd", "temperature": math.inf}, "finite"),
        ({"term": "kd", "scale": True}, "scale cannot be True"),
        ({"term": "kd", "logits": "linear", "scale": 64.0}, "linear logits have no setting"),
        ({"term": "kd", "head": "techer"}, "did you mean 'teacher'"),
        ({"term": "margin", "margin": "arcfase"}, "did you mean 'arcface'"),
        ({"term": "margin", "margin": "softmax", "m": 0.5}, "softmax has no setting 'm'"),
        ({"term": "margin", "m3": 0.5}, "arcface has no setting 'm3'"),
        ({"term": "margin", "m": -0.5}, "m cannot be -0.5"),
        ({"term": "margin", "m": 3.2}, "less than"),
        ({"term": "l2e", "normalize": 1}, "normalize cannot be 1"),
        ({"term": "l2e", "weight": -1.0}, "weight cannot be -1.0"),
        ({"term": "l2e", "weight": math.nan}, "weight cannot be nan"),
        ({"term": "l2e", "name": "a.b"}, "cannot be named 'a.b'"),
        ({"term": "l2e", "name": "keys"}, "cannot be named 'keys'"),
        ({"term": "l2e", "name": "training"}, "cannot be named 'training'"),
    ],
)
def test_a_wrong_term_is_told(spec, message):
    with pytest.raises(FacekdError, match=message):
        build_terms([spec])


def test_a_name_used_twice_and_no_terms_are_told():
    with pytest.raises(FacekdError, match="2 terms named 'kd'"):
        build_terms([{"term": "kd"}, {"term": "kd", "temperature": 2.0}])
    with pytest.raises(FacekdError, match="at least one term"):
        build_terms([])
