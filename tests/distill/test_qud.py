"""QUD against loops, the authors' numbers, two processes, and its edges."""

import pytest
import torch
from authors_numbers import close, fixture
from slow import LABELS, B, D, scalars_dot
from torch import Tensor
from two_processes import run_together

from facekd.distill import Objective, Projector, Sizes, Step, build_terms, expand
from facekd.distill.memory import Queue
from facekd.distill.qud import QUD
from facekd.errors import FacekdError


def ready(width: int = D, **settings) -> QUD:
    torch.manual_seed(0)
    term = QUD(**settings)
    term.build(Sizes(num_images=9, num_classes=3, student_dim=D, teacher_dim=width))
    return term.double()


def step_of(student: Tensor, teacher: Tensor) -> Step:
    return Step(student, LABELS[: len(student)], torch.arange(len(student)), teacher)


def draw(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scaled(v: Tensor) -> Tensor:
    return v / torch.sqrt(scalars_dot(v, v))


def slow_qud(student: Tensor, teacher: Tensor, queue: list[Tensor], temperature: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for s, t in zip(student, teacher, strict=True):
        own = torch.exp(scalars_dot(scaled(s), scaled(t)) / temperature)
        others = sum(torch.exp(scalars_dot(scaled(s), q) / temperature) for q in queue)
        total = total - torch.log(own / (own + others))
    return total / len(student)


@pytest.mark.parametrize("length", [3, 7, 12])
def test_loops_over_steps_with_a_queue_that_no_batch_divides(length):
    term = ready(queue=length, temperature=0.2)
    queue = list(term.queue.rows.clone())
    for seed in range(5):
        student, teacher = draw(seed, B, D).requires_grad_(), draw(100 + seed, B, D)
        value = term(step_of(student, teacher))
        expected = slow_qud(student, teacher, queue, 0.2)
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=0)
        ours, slow = (torch.autograd.grad(v, student)[0] for v in (value, expected))
        torch.testing.assert_close(ours, slow, rtol=1e-8, atol=1e-12)
        queue = (queue + [scaled(t) for t in teacher])[-length:]
    ours, slow = (sorted(torch.stack(list(q)).tolist()) for q in (term.queue.rows, queue))
    torch.testing.assert_close(torch.tensor(ours), torch.tensor(slow), rtol=1e-6, atol=0)


def test_four_steps_of_the_authors():
    inputs, results = fixture("qud")
    term = ready(6, queue=12, temperature=0.1)
    term.queue.rows.copy_(inputs["queue"])
    for step in results["steps"]:
        student = torch.tensor(step["student"], dtype=torch.float64, requires_grad=True)
        value = term(step_of(student, torch.tensor(step["teacher"], dtype=torch.float64)))
        close(value, step["value"])
        close(torch.autograd.grad(value, student)[0], step["gradients"]["student"])
        close(term.queue.rows, step["queue"])


def test_defaults_are_the_papers():
    term = ready()
    assert (term.temperature, len(term.queue.rows)) == (0.1, 1024)
    assert term.needs == {"teacher_embeddings", "projector"}
    torch.testing.assert_close(term.queue.rows.norm(dim=1), torch.ones(1024).double())


def test_evaluation_leaves_the_queue_and_a_checkpoint_brings_it():
    term, other = ready(queue=8), ready(queue=8)
    term(step_of(draw(1, B, D), draw(2, B, D)))
    other.load_state_dict(term.state_dict())
    assert term.state_dict().keys() == {"queue.rows", "queue.oldest"}
    before = other.queue.rows.clone()
    other.eval()(step_of(draw(3, B, D), draw(4, B, D)))
    assert torch.equal(other.queue.rows, before)
    again = [t.train()(step_of(draw(5, B, D), draw(6, B, D))) for t in (term, other)]
    assert torch.equal(*again)
    assert torch.equal(term.queue.rows, other.queue.rows)


def test_extremes():
    term = ready(queue=4)
    student = torch.zeros(1, D, dtype=torch.float64, requires_grad=True)
    value = term(step_of(student, torch.zeros(1, D, dtype=torch.float64)))
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()


def test_a_queue_shorter_than_a_batch_keeps_its_last_rows():
    queue = Queue(torch.full((3,), -1))
    queue.push(torch.arange(2))
    assert queue.rows.tolist() == [0, 1, -1]
    queue.push(torch.arange(10, 18))
    assert sorted(queue.rows.tolist()) == [15, 16, 17]
    queue.push(torch.tensor([20]))
    assert sorted(queue.rows.tolist()) == [16, 17, 20]


def test_widths():
    with pytest.raises(FacekdError, match="4 wide and the teacher's 6; put a projector"):
        ready(6)(step_of(draw(1, B, D), draw(2, B, 6)))
    with pytest.raises(FacekdError, match="name a teacher"):
        QUD().build(Sizes(num_images=9, num_classes=3, student_dim=D))
    with pytest.raises(FacekdError, match="queue cannot be 0"):
        build_terms([{"term": "qud", "queue": 0}])


def test_the_preset_trains_without_labels_through_a_projector():
    specs = expand("qud")
    assert specs == [{"term": "qud", "weight": 1.0, "temperature": 0.1, "queue": 1024}]
    assert [s["term"] for s in expand({"preset": "qud", "classification": 1, "m": 0.4})] == [
        "margin",
        "qud",
    ]
    torch.manual_seed(0)
    sizes = Sizes(num_images=9, num_classes=1, student_dim=D, teacher_dim=6)
    objective = Objective(build_terms(specs, sizes), projector=Projector(D, 6))
    optimizer = torch.optim.SGD(objective.parameters(), 0.1)
    z, t = torch.randn(B, D, requires_grad=True), torch.randn(B, 6)
    values = []
    for _ in range(3):
        total, _ = objective(z, torch.full((B,), -1), torch.arange(B), t)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(total.item())
    assert values[2] < values[0]


SCRIPT = """
from facekd.distill import Sizes, Step
from facekd.distill.qud import QUD

torch.manual_seed(0)
term = QUD(queue=10)
term.build(Sizes(num_images=9, num_classes=3, student_dim=4, teacher_dim=4))
term.double()
rng = torch.Generator().manual_seed(1)
for _ in range(3):
    student, teacher = (torch.randn(6, 4, generator=rng, dtype=torch.float64) for _ in range(2))
    own = slice(6 * rank // world, 6 * (rank + 1) // world)
    labels = torch.full((6,), -1)
    student.requires_grad_()
    value = term(Step(student[own], labels[own], labels[own], teacher[own]))
    result["value"] = value.detach()
    result["gradient"] = torch.autograd.grad(value, student)[0]
result["queue"] = term.queue.rows
"""


def test_two_processes_are_one_on_the_joint_batch(tmp_path):
    first, second = run_together(SCRIPT, tmp_path)
    alone: dict[str, Tensor] = {}
    exec(SCRIPT, {"torch": torch, "rank": 0, "world": 1, "result": alone})
    assert torch.equal(first["queue"], second["queue"])
    torch.testing.assert_close(first["queue"], alone["queue"])
    torch.testing.assert_close((first["value"] + second["value"]) / 2, alone["value"])
    torch.testing.assert_close((first["gradient"] + second["gradient"]) / 2, alone["gradient"])
