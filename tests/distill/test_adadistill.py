"""AdaDistill against loops, the authors' numbers, bad input, and two processes."""

import math

import pytest
import torch
from authors_numbers import close, fixture
from slow import LABELS, B, Batch, C, D, scalars_dot, slow_cosine, slow_cross_entropy
from torch import Tensor
from two_processes import in_this_process, run_together

from facekd.distill import Objective, Projector, Sizes, Step, build_terms, expand
from facekd.distill.adadistill import AdaDistill
from facekd.distill.margin import Margin
from facekd.errors import FacekdError
from facekd.heads import MARGINS

SIZES = Sizes(num_images=B, num_classes=C, student_dim=D, teacher_dim=D)


def ready(centres: Tensor | None = None, sizes: Sizes = SIZES, **settings) -> AdaDistill:
    torch.manual_seed(1)
    term = AdaDistill(**settings)
    term.build(sizes)
    if centres is not None:
        term.double().centres.weight.data = centres.clone()
    return term


def first_centres() -> Tensor:
    return torch.randn(C, D, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


def clip(value: Tensor | float, low: float) -> float:
    return min(max(float(value), low), 1.0)


def slow_move(batch: Batch, alpha: str) -> list[Tensor]:
    """The centres after the batch: each image of an identity moves the old one; then the mean."""
    before = list(first_centres())
    moved: dict[int, list[Tensor]] = {}
    for z, t, label in zip(batch.z.detach(), batch.t, LABELS.tolist(), strict=True):
        a = clip(slow_cosine(z, t), 0.0)
        if alpha == "weighted":
            a = clip(a * clip(slow_cosine(before[label], t), 1e-6), 1e-6)
        one = a * before[label] + (1 - a) * t / torch.sqrt(scalars_dot(t, t))
        moved.setdefault(label, []).append(one)
    return [sum(moved[j]) / len(moved[j]) if j in moved else w for j, w in enumerate(before)]


@pytest.mark.parametrize("margin", ["arcface", "cosface"])
@pytest.mark.parametrize("alpha", ["plain", "weighted"])
def test_loops(alpha, margin):
    ours, loops = Batch(), Batch()
    term = ready(first_centres(), alpha=alpha, margin=margin, scale=16.0)
    value = term(ours.step)

    centres, total = slow_move(loops, alpha), 0.0
    for z, label in zip(loops.z, LABELS.tolist(), strict=True):
        row = [slow_cosine(z, w) for w in centres]
        c = row[label]
        row[label] = torch.cos(torch.acos(c) + 0.45) if margin == "arcface" else c - 0.35
        total = total + slow_cross_entropy([16.0 * v for v in row], label) / B
    torch.testing.assert_close(term.centres.weight.data, torch.stack(centres), rtol=1e-10, atol=0)
    torch.testing.assert_close(value, total, rtol=1e-10, atol=0)
    for a, b in zip(ours.gradients(value), loops.gradients(total), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10)


def test_the_loops_had_something_to_clip_and_to_average():
    batch = Batch()
    cosines = [slow_cosine(z, t).item() for z, t in zip(batch.z, batch.t, strict=True)]
    own = [slow_cosine(first_centres()[y], t) for t, y in zip(batch.t, LABELS, strict=True)]
    assert min(cosines) < 0 < max(cosines)
    assert min(own) < 0 < max(own)
    assert len(LABELS.unique()) < B


@pytest.mark.parametrize("margin", ["arcface", "cosface"])
def test_three_steps_of_the_authors(margin):
    inputs, results = fixture("adadistill")
    sizes = Sizes(num_images=99, num_classes=7, student_dim=5, teacher_dim=5)
    term = ready(inputs["centres"], sizes, margin=margin, scale=inputs["scale"])
    for z, t, labels, theirs in zip(
        inputs["student"], inputs["teacher"], inputs["labels"], results[margin], strict=True
    ):
        z.requires_grad_()
        value = term(Step(z, labels, torch.arange(4), t))
        close(value, theirs["value"])
        close(torch.autograd.grad(value, z)[0], theirs["gradients"]["student"])
        close(term.centres.weight.data, theirs["centres"])


@pytest.mark.parametrize("margin", list(MARGINS))
def test_every_margin_serves(margin):
    batch = Batch()
    term = ready(first_centres(), margin=margin)
    value = term(batch.step)
    assert value.isfinite()
    assert torch.autograd.grad(value, batch.z)[0].abs().sum() > 0
    as_margin = Margin(margin=margin, **({"m": 0.45} if margin == "arcface" else {})).double()
    again = as_margin(Step(batch.z, LABELS, torch.arange(B), student_head=term.centres))
    assert torch.equal(value, again)


def test_centres_start_small_and_travel_with_the_state():
    sizes = Sizes(num_images=99, num_classes=500, student_dim=8, teacher_dim=64)
    term, again = ready(sizes=sizes), ready(sizes=sizes)
    assert term.centres.weight.shape == (500, 64)
    assert term.centres.weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert torch.equal(term.centres.weight, again.centres.weight), "torch's seed fixes them"
    assert not any(p.requires_grad for p in term.parameters())
    again.centres.weight.data.zero_()
    again.load_state_dict(term.state_dict())
    assert torch.equal(term.centres.weight, again.centres.weight)


def test_evaluation_leaves_the_centres():
    term = ready(first_centres()).eval()
    term(Batch().step)
    assert torch.equal(term.centres.weight.data, first_centres())


def test_rows_without_a_label_move_nothing():
    batch, keep = Batch(), torch.tensor([0, 2])
    labels = torch.tensor([0, -1, 3, -1, -1])
    some, only = ready(first_centres()), ready(first_centres())
    a = some(Step(batch.z, labels, torch.arange(B), batch.t))
    b = only(Step(batch.z[keep], labels[keep], keep, batch.t[keep]))
    torch.testing.assert_close(a, b)
    torch.testing.assert_close(some.centres.weight.data, only.centres.weight.data)
    before = some.centres.weight.data.clone()
    nothing = some(Step(batch.z, torch.full((B,), -1), torch.arange(B), batch.t))
    assert nothing.item() == 0
    assert torch.equal(some.centres.weight.data, before)


def test_extremes_are_finite():
    """Zero embeddings on either side, and a student equal and opposite to its teacher."""
    term = ready()
    t = torch.stack([torch.zeros(D), torch.ones(D), torch.ones(D), torch.ones(D)])
    z = torch.stack([torch.ones(D), torch.zeros(D), torch.ones(D), -torch.ones(D)])
    z.requires_grad_()
    for _ in range(3):
        value = term(Step(z, torch.tensor([0, 1, 2, 3]), torch.arange(4), t))
        assert value.isfinite()
        assert torch.autograd.grad(value, z)[0].isfinite().all()
        assert term.centres.weight.isfinite().all()


def test_other_widths_go_through_the_projector():
    term = ready(sizes=Sizes(num_images=9, num_classes=C, student_dim=3, teacher_dim=D))
    z, t, projector = torch.randn(B, 3, requires_grad=True), torch.randn(B, D), Projector(3, D)
    term(Step(z, LABELS, torch.arange(B), t, projector=projector)).backward()
    assert z.grad.abs().sum() > 0
    assert projector[1].num_batches_tracked == 1
    with pytest.raises(FacekdError, match="3 wide and the teacher's 4; put a projector"):
        term(Step(z, LABELS, torch.arange(B), t))
    with pytest.raises(FacekdError, match="name a teacher"):
        AdaDistill().build(Sizes(num_images=9, num_classes=C, student_dim=3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"alpha": "weigthed"}, "did you mean 'weighted'"),
        ({"m": -0.1}, "m cannot be -0.1"),
        ({"scale": "64"}, "scale cannot be '64'"),
        ({"margin": "cosface", "m2": 0.5}, "no setting 'm2'"),
        ({"margin": "softmax"}, "compared by cosines"),
    ],
)
def test_a_wrong_setting_is_told(settings, message):
    with pytest.raises(FacekdError, match=message):
        build_terms(expand({"preset": "adadistill", **settings}))


def test_the_preset_trains_and_draws_students_to_centres():
    torch.manual_seed(0)
    objective = Objective(build_terms(expand("adadistill"), SIZES))
    t = torch.randn(B, D)
    z = (t + 0.5 * torch.randn(B, D)).requires_grad_()
    first = math.inf
    for k in range(40):
        total, _ = objective(z, LABELS, torch.arange(B), t)
        first = total.item() if k == 0 else first
        z.data -= 0.02 * torch.autograd.grad(total, z)[0]
    assert total.item() < 0.5 * first


SCRIPT = """
from facekd.distill import Sizes, Step
from facekd.distill.adadistill import AdaDistill

torch.manual_seed(3)
z, t = torch.randn(2, 8, 6, dtype=torch.float64)
labels = torch.tensor([0, 1, 1, -1, 4, 1, 0, 2])
term = AdaDistill().double()
term.build(Sizes(num_images=8, num_classes=5, student_dim=6, teacher_dim=6))
term.double()
rows = slice(None) if world == 1 else slice(4 * rank, 4 * rank + 4)
for _ in range(2):
    term(Step(z[rows], labels[rows], torch.arange(8)[rows], t[rows]))
result["centres"] = term.centres.weight.data
"""


def test_two_processes_keep_equal_centres(tmp_path):
    alone = in_this_process(SCRIPT)
    first, second = run_together(SCRIPT, tmp_path)
    assert torch.equal(first["centres"], second["centres"])
    torch.testing.assert_close(first["centres"], alone["centres"], rtol=1e-12, atol=0)
