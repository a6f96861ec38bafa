"""TripletDistillation against loops, MXNet's run of MarginDistillation's graph, and its edges."""

import math

import pytest
import torch
from authors_numbers import close, fixture
from slow import scalars_dot, slow_cosine
from torch import Tensor

from facekd.distill import Objective, Sizes, Step, build_terms, expand
from facekd.distill.triplet import Triplet
from facekd.errors import FacekdError
from facekd.heads import Classifier

LABELS = [0, 1, 0, 2, -1, 1, 0, 3, -1]


def step_of(student: Tensor, teacher: Tensor, labels: list[int]) -> Step:
    return Step(student, torch.tensor(labels), torch.arange(len(labels)), teacher)


def draw() -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(2)
    student = torch.randn(len(LABELS), 3, generator=rng, dtype=torch.float64)
    teacher = torch.randn(len(LABELS), 5, generator=rng, dtype=torch.float64)
    return student.requires_grad_(), teacher


def slow_distance(a: Tensor, b: Tensor, kind: str) -> Tensor:
    if kind == "angle":
        return torch.acos(slow_cosine(a, b))
    length_a, length_b = torch.sqrt(scalars_dot(a, a)), torch.sqrt(scalars_dot(b, b))
    return sum((x / length_a - y / length_b) ** 2 for x, y in zip(a, b, strict=True))


def all_triplets(labels: list[int]) -> list[tuple[int, int, int]]:
    rows = range(len(labels))
    return [
        (a, p, n)
        for a in rows
        for p in rows
        for n in rows
        if min(labels[a], labels[n]) >= 0 and a != p and labels[a] == labels[p] != labels[n]
    ]


def hardest(triplets: list[tuple[int, int, int]], student: Tensor, kind: str) -> list:
    def far(a: int, b: int) -> float:
        return slow_distance(student[a], student[b], kind).item()

    best = []
    for anchor in sorted({a for a, _, _ in triplets}):
        own = [(p, n) for a, p, n in triplets if a == anchor]
        positive = max((p for p, _ in own), key=lambda p: far(anchor, p))
        best.append((anchor, positive, min((n for _, n in own), key=lambda n: far(anchor, n))))
    return best


def slow_loss(
    student: Tensor, teacher: Tensor, triplets: list, kind: str, low: float, high: float
) -> Tensor:
    apart = [
        max(
            0.0,
            (
                slow_distance(teacher[a], teacher[n], kind)
                - slow_distance(teacher[a], teacher[p], kind)
            ).item(),
        )
        for a, p, n in triplets
    ]
    total = torch.zeros((), dtype=torch.float64)
    for (a, p, n), margin in zip(triplets, apart, strict=True):
        loss = slow_distance(student[a], student[p], kind)
        loss = loss - slow_distance(student[a], student[n], kind)
        loss = loss + (high - low) / max(apart) * margin + low
        total = total + (loss if loss > 0 else 0 * loss)
    return total / len(triplets)


@pytest.mark.parametrize("mining", ["all", "hardest"])
@pytest.mark.parametrize("kind", ["l2", "angle"])
def test_loops(kind, mining):
    student, teacher = draw()
    triplets = all_triplets(LABELS)
    if mining == "hardest":
        triplets = hardest(triplets, student, kind)
        assert len(triplets) == 5
    expected = slow_loss(student, teacher, triplets, kind, 0.1, 0.7)
    term = Triplet(distance=kind, mining=mining, margin_min=0.1, margin_max=0.7)
    value = term(step_of(student, teacher, LABELS))
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    ours, slow = (torch.autograd.grad(v, student)[0] for v in (value, expected))
    torch.testing.assert_close(ours, slow, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "kind"), [("triplet_distillation_L2", "l2"), ("triplet_distillation_cos", "angle")]
)
def test_mxnets_run_of_the_published_graph(name, kind):
    inputs, results = fixture("triplet")
    student = inputs["student"].requires_grad_()
    value = Triplet(distance=kind)(step_of(student, inputs["teacher"], inputs["labels"].tolist()))
    close(value, results[name]["value"])
    close(torch.autograd.grad(value, student)[0], results[name]["gradients"]["student"])


@pytest.mark.parametrize("mining", ["all", "hardest"])
@pytest.mark.parametrize("labels", [[0], [0, 1], [0, 0], [-1, -1], [3, -1, -1]])
def test_a_batch_without_triplets_gives_nothing(labels, mining):
    student = torch.randn(len(labels), 3, requires_grad=True)
    value = Triplet(mining=mining)(step_of(student, torch.randn(len(labels), 3), labels))
    value.backward()
    assert value.item() == 0
    assert (student.grad == 0).all()


@pytest.mark.parametrize("mining", ["all", "hardest"])
@pytest.mark.parametrize("kind", ["l2", "angle"])
def test_extremes_are_finite(kind, mining):
    """Zero, equal and opposite embeddings."""
    e = torch.eye(3)
    student = torch.stack([0 * e[0], e[0], e[0], -e[0], 1e4 * e[1], e[1]]).requires_grad_()
    teacher = torch.stack([e[0], e[0], 0 * e[0], e[2], e[2], -e[2]])
    value = Triplet(distance=kind, mining=mining)(step_of(student, teacher, [0, 0, 0, 1, 1, 1]))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_a_teacher_that_orders_no_triplet_well_leaves_the_smallest_margin():
    e = torch.eye(3, dtype=torch.float64)
    student = torch.stack([e[0], e[0], e[0]]).requires_grad_()
    value = Triplet()(step_of(student, torch.stack([e[0], e[1], e[0]]), [0, 0, 1]))
    assert value.item() == pytest.approx(0.2)


def test_wrong_settings_are_told():
    with pytest.raises(FacekdError, match=r"margin_max 0.1 is below margin_min 0.2"):
        Triplet(margin_max=0.1)
    with pytest.raises(FacekdError, match="distance cannot be 'cosine'"):
        build_terms([{"term": "triplet", "distance": "cosine"}])
    assert Triplet().needs == {"labels", "several images of an identity", "teacher_embeddings"}


def test_the_preset_trains():
    assert [s["term"] for s in expand("triplet_distillation")] == ["triplet"]
    loss = {"preset": "triplet_distillation", "classification": 1.0, "distance": "angle", "m": 0.4}
    specs = expand(loss)
    assert [s["term"] for s in specs] == ["margin", "triplet"]
    student, teacher = draw()
    sizes = Sizes(num_images=9, num_classes=4, student_dim=3, teacher_dim=5)
    head = Classifier(4, 3).double()
    objective = Objective(build_terms(specs, sizes), head)
    values = []
    for _ in range(3):
        total, terms = objective(student, torch.tensor(LABELS), torch.arange(9), teacher)
        gradient = torch.autograd.grad(total, student)[0]
        student = (student - 0.5 * gradient).detach().requires_grad_()
        values.append(terms["triplet"].item())
    assert values[2] < values[0]
    assert math.isfinite(values[2])
