"""EKD against loops, the authors' numbers, two processes, and its edges."""

import math

import pytest
import torch
from authors_numbers import close, fixture
from slow import slow_cosine
from torch import Tensor
from two_processes import run_together

from facekd.distill import Objective, Sizes, Step, build_terms, expand
from facekd.distill.ekd import EKD
from facekd.errors import FacekdError
from facekd.heads import Classifier

SIZES = Sizes(num_images=99, num_classes=8, student_dim=3, teacher_dim=4)
LABELS = [0, 1, 0, 2, -1, 1, 0, 3, -1, 4]


def ready(**settings) -> EKD:
    term = EKD(**settings)
    term.build(SIZES)
    return term.double()


def step_of(student: Tensor, teacher: Tensor, labels: list[int]) -> Step:
    return Step(student, torch.tensor(labels), torch.arange(len(labels)), teacher)


def draw(seed: int, rows: int = len(LABELS)) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(seed)
    student = torch.randn(rows, 3, generator=rng, dtype=torch.float64).requires_grad_()
    return student, torch.randn(rows, 4, generator=rng, dtype=torch.float64)


def slow_rank(x: Tensor, thresholds: list[float], t: float) -> Tensor:
    return sum(1 / (1 + torch.exp((a - x) / t)) for a in thresholds)


def slow_ekd(student, teacher, labels, ours, theirs, t, momentum, hardest, weights) -> Tensor:
    """The loss; moves the lists of thresholds `ours` and `theirs`."""
    known = [i for i, label in enumerate(labels) if label >= 0]
    pairs = [(i, j) for i in known for j in known if i < j]
    impostors = [(i, j) for i, j in pairs if labels[i] != labels[j]]
    genuine = [(i, j) for i, j in pairs if labels[i] == labels[j]]

    def cosine(z: Tensor, pair: tuple[int, int]) -> Tensor:
        return slow_cosine(z[pair[0]], z[pair[1]])

    for z, thresholds in ((student, ours), (teacher, theirs)):
        falling = sorted((cosine(z, pair).item() for pair in impostors), reverse=True)
        for k in range(6):
            new = falling[len(falling) // 10 ** (k + 1)]
            thresholds[k] = momentum * new + (1 - momentum) * thresholds[k]
    impostors.sort(key=lambda pair: -cosine(student, pair).item())
    total = torch.zeros((), dtype=torch.float64)
    for weight, chosen in zip(weights, (genuine, impostors[:hardest]), strict=True):
        for pair in chosen:
            difference = slow_rank(cosine(student, pair), ours, t)
            difference = difference - slow_rank(cosine(teacher, pair), theirs, t)
            total = total + weight * difference**2 / len(chosen)
    return total


@pytest.mark.parametrize("hardest", [5, 2000])
def test_loops_over_steps(hardest):
    term = ready(hardest=hardest, temperature=0.1, momentum=0.3, genuine=0.5, impostor=0.7)
    ours, theirs = [0.0] * 6, [0.0] * 6
    for seed in range(3):
        student, teacher = draw(seed)
        value = term(step_of(student, teacher, LABELS))
        slow = slow_ekd(student, teacher, LABELS, ours, theirs, 0.1, 0.3, hardest, (0.5, 0.7))
        torch.testing.assert_close(value, slow, rtol=1e-10, atol=0)
        found, expected = (torch.autograd.grad(v, student)[0] for v in (value, slow))
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(term.student_thresholds.tolist(), ours, rtol=1e-10, atol=0)
    torch.testing.assert_close(term.teacher_thresholds.tolist(), theirs, rtol=1e-10, atol=0)
    assert len(set(ours)) == 2  # 25 impostor pairs: FAR 0.1, and the hardest pair for the rest


@pytest.mark.parametrize(("name", "settings"), [("every", {}), ("few", {"hardest": 9})])
def test_three_steps_of_the_authors(name, settings):
    _, results = fixture("ekd")
    term = ready(**settings)
    for step in results["steps"]:
        student = torch.tensor(step["student"], dtype=torch.float64, requires_grad=True)
        teacher = torch.tensor(step["teacher"], dtype=torch.float64)
        value = term(step_of(student, teacher, step["labels"]))
        close(value, step[name]["value"])
        close(torch.autograd.grad(value, student)[0], step[name]["gradients"]["student"])
        close(term.student_thresholds, step["student_thresholds"])
        close(term.teacher_thresholds, step["teacher_thresholds"])
    assert step["every"]["value"] != step["few"]["value"]


def test_a_million_pairs_give_each_far_its_own_threshold():
    rng = torch.Generator().manual_seed(0)
    student = torch.randn(1500, 3, generator=rng)
    term = EKD(momentum=1.0)
    term.build(SIZES)
    term(step_of(student, torch.randn(1500, 4, generator=rng), list(range(1500))))
    falling = term.student_thresholds.tolist()
    assert falling == sorted(set(falling))
    cosines = torch.nn.functional.normalize(student) @ torch.nn.functional.normalize(student).T
    cosines = cosines[torch.triu(torch.ones(1500, 1500), 1).bool()]
    assert [(cosines > a).sum().item() for a in falling] == [
        len(cosines) // 10**k for k in range(1, 7)
    ]


@pytest.mark.parametrize("labels", [[0], [-1, -1], [3, -1, -1]])
def test_a_batch_without_pairs_gives_nothing(labels):
    student, teacher = draw(0, len(labels))
    term = ready()
    value = term(step_of(student, teacher, labels))
    value.backward()
    assert value.item() == 0
    assert (student.grad == 0).all()
    assert (term.student_thresholds == 0).all()


def test_one_kind_of_pairs_alone():
    student, teacher = draw(0, 3)
    genuine = ready()
    assert genuine(step_of(student, teacher, [1, 1, 1])) > 0
    assert (genuine.teacher_thresholds == 0).all()
    impostor = ready(genuine=5.0)(step_of(student, teacher, [1, 2, 3]))
    assert torch.equal(impostor, ready()(step_of(student, teacher, [1, 2, 3])))
    assert impostor > 0


def test_evaluation_moves_no_threshold_and_a_checkpoint_brings_them():
    term, other = ready(), ready()
    term(step_of(*draw(1), LABELS))
    other.load_state_dict(term.state_dict())
    assert term.state_dict().keys() == {"student_thresholds", "teacher_thresholds"}
    other.eval()(step_of(*draw(2), LABELS))
    assert torch.equal(term.student_thresholds, other.student_thresholds)
    assert (other.student_thresholds != 0).all()
    values = [t.train()(step_of(*draw(3), LABELS)) for t in (term, other)]
    assert torch.equal(*values)


def test_the_student_with_the_teachers_angles_has_no_loss():
    student, _ = draw(0)
    value = ready()(step_of(student, 3 * student.detach(), LABELS))
    assert value.item() == pytest.approx(0, abs=1e-20)


def test_extremes_are_finite():
    """Zero, equal and opposite embeddings in float32."""
    e = torch.eye(3)
    student = torch.stack([0 * e[0], e[0], e[0], -e[0], 1e4 * e[1], e[1]]).requires_grad_()
    term = EKD(temperature=1e-4)
    term.build(SIZES)
    value = term(step_of(student, student.detach().flip(0), [0, 0, 0, 1, 1, 1]))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_the_preset_trains():
    specs = expand({"preset": "ekd", "m": 0.4})
    assert specs == [
        {"term": "margin", "weight": 1.0, "m": 0.4},
        {"term": "ekd", "weight": 1.0, "genuine": 0.02, "impostor": 0.01},
    ]
    objective = Objective(build_terms(specs, SIZES), Classifier(8, 3).double()).double()
    student, teacher = draw(0)
    values = []
    for _ in range(3):
        total, _ = objective(student, torch.tensor(LABELS), torch.arange(10), teacher)
        values.append(total.item())
        gradient = torch.autograd.grad(total, student)[0]
        student = (student - 0.1 * gradient).detach().requires_grad_()
    assert values[2] < values[0]
    assert math.isfinite(values[2])
    assert EKD().needs == {"labels", "several images of an identity", "teacher_embeddings"}
    with pytest.raises(FacekdError, match="hardest cannot be 0"):
        build_terms([{"term": "ekd", "hardest": 0}])


SCRIPT = """
from facekd.distill import Sizes, Step
from facekd.distill.ekd import EKD

term = EKD(hardest=9, temperature=0.1, momentum=0.3)
term.build(Sizes(num_images=99, num_classes=8, student_dim=3, teacher_dim=4))
term.double()
rng = torch.Generator().manual_seed(1)
for _ in range(2):
    student = torch.randn(8, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    teacher = torch.randn(8, 4, generator=rng, dtype=torch.float64)
    own = slice(8 * rank // world, 8 * (rank + 1) // world)
    labels = torch.tensor([0, 1, 2, -1, 0, 0, 3, 1])
    value = term(Step(student[own], labels[own], labels[own], teacher[own]))
    result["value"] = value.detach()
    result["gradient"] = torch.autograd.grad(value, student)[0]
result["thresholds"] = torch.stack([term.student_thresholds, term.teacher_thresholds])
"""


def test_two_processes_are_one_on_the_joint_batch(tmp_path):
    first, second = run_together(SCRIPT, tmp_path)
    alone: dict[str, Tensor] = {}
    exec(SCRIPT, {"torch": torch, "rank": 0, "world": 1, "result": alone})
    for name in ("thresholds", "value"):
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], alone[name])
    torch.testing.assert_close((first["gradient"] + second["gradient"]) / 2, alone["gradient"])
