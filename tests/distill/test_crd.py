"""CRD against loops, the authors' numbers, two processes, and its edges."""

import math
from typing import Any

import pytest
import torch
from authors_numbers import close, fixture
from slow import scalars_dot
from torch import Tensor
from two_processes import run_together

from facekd.distill import Objective, Sizes, Step, build_terms, expand
from facekd.distill.crd import CRD
from facekd.errors import FacekdError
from facekd.heads import Classifier

N, B, K = 12, 4, 6
SIZES = Sizes(num_images=N, num_classes=5, student_dim=5, teacher_dim=7)
SMALL = {"negatives": K, "width": 8}


class Given(CRD):
    """CRD with negatives that the test chooses."""

    drawn: Tensor

    def draw(self, batch: int, images: int) -> Tensor:
        assert (batch, images) == (B, N)
        return self.drawn


def ready(kind: type[CRD] = CRD, sizes: Sizes = SIZES, **settings: Any) -> Any:
    torch.manual_seed(0)
    term = kind(**{**SMALL, **settings})
    term.build(sizes)
    return term.double()


def step_of(seed: int, position: list[int], labels: list[int] | None = None) -> Step:
    rng = torch.Generator().manual_seed(seed)
    student = torch.randn(len(position), 5, generator=rng, dtype=torch.float64).requires_grad_()
    teacher = torch.randn(len(position), 7, generator=rng, dtype=torch.float64)
    labels = [-1] * len(position) if labels is None else labels
    return Step(student, torch.tensor(labels), torch.tensor(position), teacher)


def scaled(v: Tensor) -> Tensor:
    return v / torch.sqrt(scalars_dot(v, v))


def slow_side(
    anchors: list[Tensor], positives: list[Tensor], negatives: list[list[Tensor]],
    mean: float | None, tau: float = 0.07,
) -> tuple[Tensor, float]:  # fmt: skip
    """The loss seen from one side, and the mean of exp(score) that it was made with."""
    own = [torch.exp(scalars_dot(a, p) / tau) for a, p in zip(anchors, positives, strict=True)]
    others = [
        [torch.exp(scalars_dot(a, u) / tau) for u in row]
        for a, row in zip(anchors, negatives, strict=True)
    ]
    if mean is None:
        every = [e.item() for e in own] + [e.item() for row in others for e in row]
        mean = sum(every) / len(every)
    total = torch.zeros((), dtype=torch.float64)
    for e, row in zip(own, others, strict=True):
        level = len(row) * mean
        if row:
            total = total - torch.log(e / (e + level))
        for f in row:
            total = total - torch.log(level / (f + level))
    return total / len(anchors), mean


class Slow:
    """CRD in loops, from a term's weights and memories as they were when it was built."""

    def __init__(self, term: CRD) -> None:
        self.layers = [
            [p.detach().clone().requires_grad_() for p in (layer.weight, layer.bias)]
            for layer in (term.student, term.teacher)
        ]
        self.means: list[float | None] = [None, None]

    def project(self, side: int, rows: Tensor) -> list[Tensor]:
        weight, bias = self.layers[side]
        return [
            scaled(torch.stack([scalars_dot(w, z) + b for w, b in zip(weight, bias, strict=True)]))
            for z in rows
        ]

    def loss(self, projected: list, positives: list, negatives: list) -> Tensor:
        losses = []
        for side in (0, 1):
            other = 1 - side
            loss, self.means[side] = slow_side(
                projected[side], positives[other], negatives[other], self.means[side]
            )
            losses.append(loss)
        return losses[0] + losses[1]

    def learning(self) -> list[Tensor]:
        return [p for layer in self.layers for p in layer]


def check(term: Any, slow: Slow, value: Tensor, expected: Tensor, ours: Tensor) -> None:
    torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
    parameters = [p for layer in (term.student, term.teacher) for p in (layer.weight, layer.bias)]
    found = torch.autograd.grad(value, [ours, *parameters])
    loops = torch.autograd.grad(expected, [ours, *slow.learning()])
    for a, b in zip(found, loops, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)
    means = [math.log(m) for m in slow.means]
    torch.testing.assert_close(term.log_mean.tolist(), means, rtol=1e-10, atol=0)


@pytest.mark.parametrize("shared", [False, True])
def test_bank_in_loops(shared):
    """Draws may repeat, hit the image itself, and hit images of its identity."""
    term = ready(Given, shared=shared)
    slow = Slow(term)
    banks = [list(term.bank.student.clone()), list(term.bank.teacher.clone())]
    known = [-1] * N
    identity = [0, 0, 0, 1, 1, 2, 2, 3, 3, -1, -1, 4]
    rng = torch.Generator().manual_seed(3)
    left_out = 0
    for seed, position in enumerate([[0, 3, 9, 10], [1, 4, 9, 11], [2, 3, 8, 10]]):
        term.drawn = torch.randint(N, (K,) if shared else (B, K), generator=rng)
        rows = term.drawn.expand(B, K).tolist()
        labels = [identity[i] for i in position]
        kept = [
            [k for k in row if k != i and not (known[k] == identity[i] >= 0)]
            for i, row in zip(position, rows, strict=True)
        ]
        left_out += B * K - sum(len(row) for row in kept)
        step = step_of(seed, position, labels)
        projected = [slow.project(0, step.embeddings), slow.project(1, step.teacher)]
        positives = [[bank[i] for i in position] for bank in banks]
        negatives = [[[bank[k] for k in row] for row in kept] for bank in banks]
        expected = slow.loss(projected, positives, negatives)
        check(term, slow, term(step), expected, step.embeddings)
        for bank, side in zip(banks, projected, strict=True):
            for i, v in zip(position, side, strict=True):
                bank[i] = scaled(0.5 * bank[i] + 0.5 * v.detach())
        for i, label in zip(position, labels, strict=True):
            known[i] = label
        for bank, ours in zip(banks, (term.bank.student, term.bank.teacher), strict=True):
            torch.testing.assert_close(ours, torch.stack(bank), rtol=1e-10, atol=1e-12)
    assert left_out > 5
    assert term.bank.labels.tolist() == known


def test_queue_in_loops():
    term = ready(memory="queue")
    slow = Slow(term)
    queues = [list(term.past_student.rows.clone()), list(term.past_teacher.rows.clone())]
    known = [-1] * K
    for seed, labels in enumerate([[0, 1, -1, 2], [0, -1, 3, 2], [0, 1, 2, 3]]):
        step = step_of(seed, [0, 1, 2, 3], labels)
        projected = [slow.project(0, step.embeddings), slow.project(1, step.teacher)]
        constant = [[v.detach() for v in side] for side in projected]
        kept = [[k for k in range(K) if not (known[k] == label >= 0)] for label in labels]
        negatives = [[[queue[k] for k in row] for row in kept] for queue in queues]
        expected = slow.loss(projected, constant, negatives)
        check(term, slow, term(step), expected, step.embeddings)
        queues = [(queue + side)[-K:] for queue, side in zip(queues, constant, strict=True)]
        known = (known + labels)[-K:]
    assert sum(len(row) for row in kept) < B * K
    assert sorted(term.past_labels.rows.tolist()) == sorted(known)


def test_three_steps_of_the_authors():
    """Their 1e-7 in the denominators, which ours leaves out, is far below the tolerance."""
    inputs, results = fixture("crd")
    term = ready(Given)
    parameters = {
        f"{side}_{part}": getattr(layer, part)
        for side, layer in (("student", term.student), ("teacher", term.teacher))
        for part in ("weight", "bias")
    }
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(inputs[name])
        term.bank.student.copy_(inputs["student_bank"])
        term.bank.teacher.copy_(inputs["teacher_bank"])
    for step in results["steps"]:
        student, teacher = (
            torch.tensor(step[side], dtype=torch.float64) for side in ("student", "teacher")
        )
        term.drawn = torch.tensor(step["drawn"])
        student.requires_grad_()
        labels = torch.full((B,), -1)
        value = term(Step(student, labels, torch.tensor(step["position"]), teacher))
        close(value.reshape(1), [step["value"]])
        learning = {"student": student, **parameters}
        gradients = torch.autograd.grad(value, list(learning.values()))
        for name, gradient in zip(learning, gradients, strict=True):
            close(gradient, step["gradients"][name])
        close(term.bank.student, step["student_bank"])
        close(term.bank.teacher, step["teacher_bank"])
        close(N * term.log_mean.exp(), step["z"])


def test_sizes_and_needs():
    term = ready(negatives=16384)
    assert term.negatives == N - 1
    assert term.draw(B, N).shape == (B, N - 1)
    assert ready(shared=True, negatives=3).draw(B, N).shape == (3,)
    assert term.needs == {"teacher_embeddings", "position"}
    assert ready(memory="queue").needs == {"teacher_embeddings"}
    defaults = CRD()
    assert (defaults.negatives, defaults.temperature, defaults.width) == (16384, 0.07, 128)
    assert defaults.momentum == 0.5
    reach = math.sqrt(3 / 8)
    assert term.bank.student.min() < -0.9 * reach
    assert 0.9 * reach < term.bank.student.max() <= reach
    assert not torch.equal(term.bank.student, term.bank.teacher)


@pytest.mark.parametrize("memory", ["bank", "queue"])
def test_a_checkpoint_and_the_random_state_bring_everything_back(memory):
    term, other = ready(memory=memory), ready(memory=memory)
    for seed in range(2):
        term(step_of(seed, [0, 5, 2, 7], [0, 1, 1, 2]))
    other.load_state_dict(term.state_dict())
    state = torch.get_rng_state()
    first = [term(step_of(seed, [1, 2, 3, 4], [0, 1, 2, 3])).item() for seed in (5, 6)]
    torch.set_rng_state(state)
    assert [other(step_of(seed, [1, 2, 3, 4], [0, 1, 2, 3])).item() for seed in (5, 6)] == first
    for name, tensor in term.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


@pytest.mark.parametrize("memory", ["bank", "queue"])
def test_evaluation_changes_nothing(memory):
    term = ready(memory=memory).eval()
    before = {name: tensor.clone() for name, tensor in term.state_dict().items()}
    assert term(step_of(0, [0, 1, 2, 3])).isfinite()
    assert all(torch.equal(before[name], tensor) for name, tensor in term.state_dict().items())


def test_an_image_that_stands_in_the_batch_twice_enters_as_its_last_row():
    twice, once = ready(), ready()
    step = step_of(0, [5, 2, 5, 2], [1, 0, 3, 0])
    twice(step)
    keep = torch.tensor([2, 3])
    once(Step(step.embeddings[keep], step.labels[keep], step.position[keep], step.teacher[keep]))
    torch.testing.assert_close(twice.bank.student, once.bank.student)
    torch.testing.assert_close(twice.bank.teacher, once.bank.teacher)
    assert torch.equal(twice.bank.labels, once.bank.labels)


def test_no_negatives_give_nothing():
    """All people one, all met: nothing is left to compare with."""
    term = ready()
    term.bank.labels.fill_(2)
    step = step_of(0, [0, 1, 2, 3], [2, 2, 2, 2])
    value = term(step)
    value.backward()
    assert value.item() == 0
    assert (step.embeddings.grad == 0).all()


@pytest.mark.parametrize("settings", [{}, {"memory": "queue"}, {"shared": True}])
def test_extremes_are_finite_in_float32(settings):
    """Zero embeddings, one row, and a temperature whose exponentials leave float32."""
    torch.manual_seed(0)
    term = CRD(temperature=0.005, **SMALL, **settings)
    term.build(SIZES)
    for rows in (torch.zeros(1, 5), 1e4 * torch.randn(3, 5), 1e-8 * torch.randn(2, 5)):
        student = rows.requires_grad_()
        positions = torch.arange(len(rows))
        labels = torch.full((len(rows),), -1)
        value = term(Step(student, labels, positions, torch.zeros(len(rows), 7)))
        value.backward()
        assert value.isfinite()
        assert student.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in term.parameters())


def test_wrong_settings_and_sizes_are_told():
    with pytest.raises(FacekdError, match="a queue has no setting 'momentum'"):
        build_terms([{"term": "crd", "memory": "queue", "momentum": 0.5}])
    with pytest.raises(FacekdError, match="a queue has no setting 'shared'"):
        build_terms([{"term": "crd", "memory": "queue", "shared": False}])
    with pytest.raises(FacekdError, match="negatives cannot be 0"):
        build_terms([{"term": "crd", "negatives": 0}])
    with pytest.raises(FacekdError, match="name a teacher"):
        CRD().build(Sizes(num_images=9, num_classes=3, student_dim=5))
    one = Sizes(num_images=1, num_classes=1, student_dim=5, teacher_dim=7)
    with pytest.raises(FacekdError, match="has only one"):
        CRD().build(one)
    CRD(memory="queue").build(one)


def test_presets_are_the_authors_weights():
    assert [(s["term"], s["weight"]) for s in expand("crd")] == [("margin", 1.0), ("crd", 0.8)]
    with_kd = expand({"preset": "crd", "alpha": 1.0, "memory": "queue", "negatives": 64})
    assert [(s["term"], s["weight"]) for s in with_kd] == [
        ("margin", 1.0),
        ("kd", 1.0),
        ("crd", 0.8),
    ]
    assert with_kd[2] == {"term": "crd", "weight": 0.8, "memory": "queue", "negatives": 64}
    built = build_terms(expand("crdth"))
    assert [(name, weight) for name, weight, _ in built] == [
        ("margin", 0.9),
        ("kd", 1.0),
        ("crd", 0.8),
        ("kd_teacher", 0.02),
    ]
    for spec in expand({"preset": "crdth", "margin": "softmax"}):
        assert spec.get("logits", "linear") == "linear"


@pytest.mark.parametrize("loss", [{"preset": "crd", "shared": True}, {"preset": "crdth"}])
def test_presets_train(loss):
    torch.manual_seed(0)
    sizes = Sizes(num_images=N, num_classes=5, student_dim=5, teacher_dim=5)
    objective = Objective(
        build_terms(expand(loss), sizes), Classifier(5, 5, bias=True), Classifier(5, 5, bias=True)
    )
    assert objective.terms["crd"].log_mean.device == objective.terms["crd"].bank.student.device
    z, t = torch.randn(B, 5, requires_grad=True), torch.randn(B, 5)
    labels, places = torch.tensor([0, 1, 2, 4]), torch.tensor([3, 5, 8, 9])
    optimizer = torch.optim.SGD([p for p in objective.parameters() if p.requires_grad] + [z], 0.05)
    values = []
    for _ in range(6):
        total, terms = objective(z, labels, places, t)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(terms["crd"].item())
    assert values[-1] < values[0]


SCRIPT = """
from facekd.distill import Sizes, Step
from facekd.distill.crd import CRD

class Given(CRD):
    def draw(self, batch, images):
        return drawn[own]

for memory in ("bank", "queue"):
    torch.manual_seed(0)
    term = Given(memory=memory, negatives=5, width=8)
    term.build(Sizes(num_images=12, num_classes=5, student_dim=5, teacher_dim=7))
    term.double()
    rng = torch.Generator().manual_seed(1)
    for places in ([0, 1, 2, 3, 4, 5], [11, 7, 3, 3, 7, 9]):
        student = torch.randn(6, 5, generator=rng, dtype=torch.float64, requires_grad=True)
        teacher = torch.randn(6, 7, generator=rng, dtype=torch.float64)
        drawn = torch.randint(12, (6, 5), generator=rng)
        own = slice(6 * rank // world, 6 * (rank + 1) // world)
        position = torch.tensor(places)
        labels = position % 5 - 1
        value = term(Step(student[own], labels[own], position[own], teacher[own]))
        result[memory + " value"] = value.detach()
        learning = [student, *term.parameters()]
        for k, gradient in enumerate(torch.autograd.grad(value, learning)):
            result[memory + " gradient " + str(k)] = gradient
    for name, buffer in term.named_buffers():
        result[memory + " buffer " + name] = buffer
"""


def test_two_processes_are_one_on_the_joint_batch(tmp_path):
    first, second = run_together(SCRIPT, tmp_path)
    alone: dict[str, Tensor] = {}
    exec(SCRIPT, {"torch": torch, "rank": 0, "world": 1, "result": alone})
    for name, expected in alone.items():
        if " buffer " in name:
            assert torch.equal(first[name], second[name]), name
            torch.testing.assert_close(first[name], expected)
        else:
            torch.testing.assert_close((first[name] + second[name]) / 2, expected)
    assert sum(" buffer " in name for name in alone) == 13
