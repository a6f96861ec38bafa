"""MarginDistillation against loops, the authors' numbers, bad input, and two processes."""

import math

import pytest
import torch
from authors_numbers import close, fixture
from slow import LABELS, B, Batch, C, D, compare, slow_cosine, slow_cross_entropy
from torch import Tensor
from two_processes import in_this_process, run_together

from facekd.distill import Objective, Projector, Step, build_terms, expand
from facekd.distill.margin_distillation import MarginDistillation
from facekd.errors import FacekdError
from facekd.heads import Classifier


def slow_margins(batch: Batch, m_max: float, m_min: float) -> list[float]:
    pairs = zip(batch.t, LABELS.tolist(), strict=True)
    cosines = [max(slow_cosine(t, batch.other.weight[y]).item(), 0.0) for t, y in pairs]
    return [(m_max - m_min) / max(cosines) * c + m_min for c in cosines]


def slow_loss(batch: Batch, m_max: float, m_min: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    margins = slow_margins(batch, m_max, m_min)
    rows = batch.rows(batch.z, batch.other, 1.0)
    for row, label, m in zip(rows, LABELS.tolist(), margins, strict=True):
        theta = torch.acos(row[label])
        inside = theta.item() + m <= math.pi
        row[label] = torch.cos(theta + m) if inside else row[label] - m * math.sin(m)
        total = total + slow_cross_entropy([16.0 * v for v in row], label)
    return total / B


@pytest.mark.parametrize("m_max", [0.5, 3.0])
def test_loops(m_max):
    compare(MarginDistillation(m_max=m_max, scale=16.0), lambda b: slow_loss(b, m_max, 0.2))


def test_the_loops_met_every_case():
    batch = Batch()
    own = [slow_cosine(t, batch.other.weight[y]) for t, y in zip(batch.t, LABELS, strict=True)]
    assert min(own) < 0 < max(own)
    beyond = []
    for z, y, m in zip(batch.z, LABELS, slow_margins(batch, 3.0, 0.2), strict=True):
        beyond.append(torch.acos(slow_cosine(z, batch.other.weight[y])).item() + m > math.pi)
    assert len(set(beyond)) == 2


def test_the_authors_numbers():
    inputs, theirs = fixture("margin_distillation")
    term = MarginDistillation(**{k: inputs[k] for k in ("m_max", "m_min", "scale")})
    z = inputs["student"].requires_grad_()
    head = Classifier.from_weight(inputs["weight"])
    value = term(Step(z, inputs["labels"], torch.arange(6), inputs["teacher"], teacher_head=head))
    close(value, theirs["value"])
    close(torch.autograd.grad(value, z)[0], theirs["gradients"]["student"])


def test_the_most_typical_image_gets_the_largest_margin():
    weight = torch.eye(4)
    t = torch.stack([weight[0], weight[1] + weight[2], -weight[2], torch.zeros(4), weight[3]])
    labels = torch.tensor([0, 1, 2, 3, -1])
    head = Classifier.from_weight(weight)
    step = Step(torch.ones(5, 4), labels, torch.arange(5), t, teacher_head=head)
    expected = torch.tensor([0.5, 0.2 + 0.3 * 0.5**0.5, 0.2, 0.2, 0.2])
    torch.testing.assert_close(MarginDistillation().margins(step), expected)
    step.teacher_embeddings = -t  # no cosine above zero but the unlabelled row's
    assert MarginDistillation().margins(step)[0] == pytest.approx(0.2)


def test_rows_without_a_label_are_left_out():
    batch, keep = Batch(), torch.tensor([0, 2])
    labels = torch.tensor([0, -1, 3, -1, -1])
    term = MarginDistillation()
    some = term(Step(batch.z, labels, torch.arange(B), batch.t, None, batch.other))
    only = Step(batch.z[keep], labels[keep], keep, batch.t[keep], None, batch.other)
    torch.testing.assert_close(some, term(only))
    none = torch.full((B,), -1)
    nothing = term(Step(batch.z, none, torch.arange(B), batch.t, None, batch.other))
    assert nothing.item() == 0
    assert all((g == 0).all() for g in batch.gradients(nothing))


def test_extremes_are_finite():
    """Student embeddings of length zero, equal to, and opposite to class vectors."""
    weight = torch.randn(C, D, generator=torch.Generator().manual_seed(0))
    z = torch.stack([torch.zeros(D), weight[5], -weight[3], 1e4 * weight[3], 1e-4 * weight[1]])
    z.requires_grad_()
    head = Classifier.from_weight(weight)
    step = Step(z, LABELS, torch.arange(B), weight[LABELS], None, head)
    value = MarginDistillation()(step)
    assert value.isfinite()
    assert torch.autograd.grad(value, z)[0].isfinite().all()


def test_other_widths_go_through_the_projector():
    z, projector = torch.randn(B, 3, requires_grad=True), Projector(3, D)
    head = Classifier(C, D).freeze()
    step = Step(z, LABELS, torch.arange(B), torch.randn(B, D), None, head, projector)
    MarginDistillation()(step).backward()
    assert z.grad.abs().sum() > 0
    step = Step(z, LABELS, torch.arange(B), torch.randn(B, D), None, head)
    with pytest.raises(FacekdError, match="3-wide"):
        MarginDistillation()(step)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"m_min": 0.6}, r"m_min 0.6 is above m_max 0.5; swap them"),
        ({"m_max": 3.2}, "m_max cannot be 3.2"),
        ({"m": 0.5}, "no setting 'm'"),
    ],
)
def test_a_wrong_setting_is_told(settings, message):
    with pytest.raises(FacekdError, match=message):
        build_terms(expand({"preset": "margin_distillation", **settings}))


def test_the_preset_trains():
    torch.manual_seed(0)
    head = Classifier(C, D)
    objective = Objective(build_terms(expand("margin_distillation")), teacher_head=head)
    z, t = torch.randn(B, D, requires_grad=True), torch.randn(B, D)
    values = []
    for _ in range(30):
        total, _ = objective(z, LABELS, torch.arange(B), t)
        values.append(total.item())
        z.data -= 0.05 * torch.autograd.grad(total, z)[0]
    assert values[-1] < 0.5 * values[0]
    assert head.frozen


SCRIPT = """
from facekd.distill import Step
from facekd.distill.margin_distillation import MarginDistillation
from facekd.heads import Classifier

torch.manual_seed(3)
z, t = torch.randn(2, 8, 6, dtype=torch.float64)
head = Classifier.from_weight(torch.randn(5, 6, dtype=torch.float64))
labels = torch.tensor([0, 1, 1, 2, 4, 1, 0, 2])
rows = slice(None) if world == 1 else slice(4 * rank, 4 * rank + 4)
step = Step(z[rows], labels[rows], torch.arange(8)[rows], t[rows], None, head)
result["margins"] = MarginDistillation().margins(step)
"""


def test_two_processes_set_the_margins_of_the_whole_batch(tmp_path):
    alone = in_this_process(SCRIPT)
    first, second = run_together(SCRIPT, tmp_path)
    both = torch.cat([first["margins"], second["margins"]])
    torch.testing.assert_close(both, alone["margins"], rtol=1e-12, atol=0)
