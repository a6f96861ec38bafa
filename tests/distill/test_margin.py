"""Margin softmax with each margin, against scalar loops; its settings, and what it leaves out."""

import math
from collections.abc import Callable

import pytest
import torch
from slow import Batch, compare, scalars_dot, slow_cosine, slow_cross_entropy
from torch import Tensor

from facekd.distill import Objective, Sizes, Step, build_terms, expand
from facekd.distill.margin import Margin
from facekd.errors import FacekdError
from facekd.heads import MARGINS, Classifier

S = 16.0
Change = Callable[[Batch, list[Tensor], int, list[list[Tensor]]], list[Tensor]]


def labelled(batch: Batch) -> list[tuple[int, int]]:
    """(row, label) of the rows that count."""
    return [(i, k) for i, k in enumerate(batch.step.labels.tolist()) if k >= 0]


def plain_gradient(value: Tensor, cosine: Tensor) -> Tensor:
    return cosine + (value - cosine).detach()


def sphere(m: float, through: bool) -> Change:
    def change(batch, row, i, rows):
        label = int(batch.step.labels[i])
        angle = torch.acos(row[label])
        k = int(m * angle.item() / math.pi)
        value = (-1) ** k * torch.cos(m * angle) - 2 * k
        row[label] = plain_gradient(value, row[label]) if through else value
        return row

    return change


def ada(m: float, h: float, t_alpha: float, through: bool) -> Change:
    def change(batch, row, i, rows):
        lengths = [math.sqrt(scalars_dot(z, z).item()) for z in read_by(batch)]
        counted = [lengths[j] for j, _ in labelled(batch)]
        average = sum(counted) / len(counted)
        spread = math.sqrt(sum((v - average) ** 2 for v in counted) / (len(counted) - 1))
        mu, sigma = (t_alpha * v + (1 - t_alpha) * old for v, old in [(average, 20), (spread, 100)])
        k = min(1.0, max(-1.0, h * (lengths[i] - mu) / (sigma + 1e-3)))
        label = int(batch.step.labels[i])
        angle = torch.acos(row[label]) - m * k
        if angle < 1e-3 or angle > math.pi - 1e-3:
            angle = torch.tensor(1e-3 if angle < 1 else math.pi - 1e-3, dtype=torch.float64)
        value = torch.cos(angle) - (m + m * k)
        row[label] = plain_gradient(value, row[label]) if through else value
        return row

    return change


def mag(l_a: float, u_a: float, l_m: float, u_m: float, easy: bool) -> Change:
    def change(batch, row, i, rows):
        label = int(batch.step.labels[i])
        a = bounded_length(read_by(batch)[i], l_a, u_a)
        m = l_m + (u_m - l_m) * (a - l_a) / (u_a - l_a)
        angle = torch.acos(row[label])
        if easy and row[label] <= 0:
            return row
        beyond = not easy and angle + m > math.pi
        row[label] = row[label] - m * torch.sin(m) if beyond else torch.cos(angle + m)
        return row

    return change


def curricular(m: float, alpha: float) -> Change:
    def change(batch, row, i, rows):
        targets = [rows[j][k].item() for j, k in labelled(batch)]
        t = alpha * sum(targets) / len(targets)
        label = int(batch.step.labels[i])
        angle = math.acos(row[label].item())
        hard = [c.item() > math.cos(angle + m) for c in row]
        new = [c * (t + c) if is_hard else c for c, is_hard in zip(row, hard, strict=True)]
        inside = angle + m <= math.pi
        turned = torch.cos(torch.acos(row[label]) + m)
        new[label] = turned if inside else row[label] - m * math.sin(m)
        return new

    return change


def filtered(above: float, m: float) -> Change:
    def change(batch, row, i, rows):
        label = int(batch.step.labels[i])
        row = [
            c if j == label or c <= above else torch.zeros((), dtype=torch.float64)
            for j, c in enumerate(row)
        ]
        row[label] = row[label] - m
        return row

    return change


def bounded_length(z: Tensor, low: float, high: float) -> Tensor:
    length = torch.sqrt(scalars_dot(z, z))
    if low < length < high:
        return length
    return torch.tensor(low if length <= low else high, dtype=torch.float64)


def read_by(batch: Batch) -> list[Tensor]:
    """What the classifier reads: with a projector, the projected embeddings."""
    return batch.projected


CASES: dict[str, tuple[dict, Change]] = {
    "sphereface": ({"m": 3.0, "straight_through": False}, sphere(3.0, False)),
    "sphereface through": ({"m": 1.7}, sphere(1.7, True)),
    "adaface": ({"m": 0.5, "h": 1.5, "t_alpha": 0.9}, ada(0.5, 1.5, 0.9, False)),
    "adaface through": (
        {"m": 0.3, "h": 1.0, "t_alpha": 0.8, "straight_through": True},
        ada(0.3, 1.0, 0.8, True),
    ),
    "magface": (
        {"l_a": 1.0, "u_a": 1.9, "l_m": 0.3, "u_m": 0.9, "lambda_g": 2.0},
        mag(1.0, 1.9, 0.3, 0.9, True),
    ),
    "magface hard": (
        {"l_a": 1.0, "u_a": 1.9, "l_m": 0.3, "u_m": 0.9, "lambda_g": 0.0, "easy_margin": False},
        mag(1.0, 1.9, 0.3, 0.9, False),
    ),
    "curricularface": ({"m": 0.4, "alpha": 0.9}, curricular(0.4, 0.9)),
    "cosface filtered": ({"m": 0.2, "filter_above": 0.1}, filtered(0.1, 0.2)),
}


def batch_of(side: str, labels: list[int]) -> Batch:
    batch = Batch(teacher_dim=3, projected=True) if side == "teacher" else Batch()
    batch.step.labels = torch.tensor(labels)
    z = batch.z.detach().clone()
    z[0] = 0.3 * z[0] + batch.own.weight[0].detach()
    z[2] *= -1
    batch.z = batch.step.embeddings = z.requires_grad_()
    return batch


@pytest.mark.parametrize("labels", [[0, 5, 3, 3, 1], [0, -1, 3, -1, 1]])
@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("case", CASES)
def test_loops(case, side, labels):
    settings, change = CASES[case]
    margin = case.split()[0]

    def slow(batch: Batch) -> Tensor:
        head = batch.own if side == "student" else batch.other
        rows = [[slow_cosine(z, w) for w in head.weight] for z in read_by(batch)]
        total = torch.zeros((), dtype=torch.float64)
        for i, label in labelled(batch):
            row = change(batch, list(rows[i]), i, rows)
            total = total + slow_cross_entropy([S * c for c in row], label)
            if margin == "magface":
                a = bounded_length(read_by(batch)[i], 1.0, 1.9)
                total = total + settings["lambda_g"] * (1 / a + a / 1.9**2)
        return total / len(labelled(batch))

    term = Margin(head=side, margin=margin, scale=S, **settings).double()
    compare(term, slow, lambda: batch_of(side, labels))


def test_the_cases_reach_every_branch():
    """Lengths at both ends, angles beyond pi, hard classes and easy ones, filtered ones."""
    batch = batch_of("student", [0, 5, 3, 3, 1])
    cosines = batch.own.cosines(batch.z)
    own = cosines.gather(1, batch.step.labels.unsqueeze(1))
    lengths = batch.z.norm(dim=1)
    assert (3 * own.acos() > 2 * math.pi).any()
    assert (3 * own.acos() < math.pi).any()
    assert (lengths < 1.0).any()
    assert (lengths > 1.9).any()
    assert ((lengths > 1.0) & (lengths < 1.9)).any()
    assert (own < 0).any()
    assert (own > 0).any()
    assert 5 < (cosines > (own.acos() + 0.4).cos()).sum() < 25
    assert 5 < (cosines > 0.1).sum() < 25


@pytest.mark.parametrize("name", list(MARGINS))
@pytest.mark.parametrize("labels", [[-1, -1], [-1, 2], [1, 2], [4]])
def test_small_and_unlabelled_batches(name, labels):
    torch.manual_seed(0)
    head = Classifier(6, 4)
    term = Margin(margin=name)
    z = torch.zeros(len(labels), 4)
    z[-1:] = 20 * torch.randn(1, 4)
    z.requires_grad_()
    for _ in range(2):
        value = term(Step(z, torch.tensor(labels), torch.arange(len(labels)), None, head))
    value.backward()
    assert value.isfinite()
    assert (value == 0) == (max(labels) < 0)
    assert z.grad.isfinite().all()
    assert all(buffer.isfinite().all() for buffer in term.buffers())
    untouched = Margin(margin=name).state_dict()
    if max(labels) < 0:
        assert all(torch.equal(v, untouched[k]) for k, v in term.state_dict().items())


STATE = {
    "adaface": {"margin.batch_mean": 20.0, "margin.batch_std": 100.0},
    "curricularface": {"margin.t": 0.0},
}


@pytest.mark.parametrize("name", list(MARGINS))
def test_what_a_margin_remembers_is_a_buffer_that_only_training_moves(name):
    batch = Batch()
    term = Margin(margin=name)
    assert {k: v.item() for k, v in term.state_dict().items()} == STATE.get(name, {})
    term.eval()
    term(batch.step)
    assert {k: v.item() for k, v in term.state_dict().items()} == STATE.get(name, {})
    term.train()
    term(batch.step)
    for key, before in STATE.get(name, {}).items():
        after = term.state_dict()[key]
        assert after.item() != before
        assert not after.requires_grad
    assert not list(term.parameters())
    again = Margin(margin=name)
    again.load_state_dict(term.state_dict())
    assert torch.equal(again.eval()(batch.step), term.eval()(batch.step))


def test_the_scale_is_the_margins_own_unless_given():
    assert {name: Margin(margin=name).scale for name in MARGINS} == {
        name: 30.0 if name == "sphereface" else 64.0 for name in MARGINS
    }
    assert Margin(margin="sphereface", scale=10.0).scale == 10.0


@pytest.mark.parametrize("name", [n for n in MARGINS if n not in ("arcface", "cosface")])
def test_a_margins_preset_is_its_defaults(name):
    (spec,) = expand(name)
    assert (spec["term"], spec["margin"], spec["weight"]) == ("margin", name, 1.0)
    batch = Batch()
    ours = build_terms([spec])[0][2]
    if name == "combined":
        assert (spec["m1"], spec["m2"], spec["m3"]) == (1.0, 0.3, 0.2)
    else:
        assert torch.equal(ours(batch.step), Margin(margin=name)(batch.step))
    assert expand({"preset": name, "filter_above": 0.4})[0]["filter_above"] == 0.4


@pytest.mark.parametrize("name", list(MARGINS))
def test_every_margin_trains_both_heads_of_th_kd(name):
    torch.manual_seed(0)
    terms = build_terms(
        expand({"preset": "th_kd", "margin": name}),
        Sizes(num_images=9, num_classes=6, student_dim=4, teacher_dim=3),
    )
    assert [t.margin.__class__ for n, _, t in terms if n.startswith("margin")] == 2 * [
        MARGINS[name]
    ]
    projector = torch.nn.Linear(4, 3)
    objective = Objective(terms, Classifier(6, 4), Classifier(6, 3), projector)
    z = (20 * torch.randn(5, 4)).requires_grad_()
    total, _ = objective(z, torch.tensor([0, 1, 2, 3, -1]), torch.arange(5), torch.randn(5, 3))
    total.backward()
    assert total.isfinite()
    assert z.grad.abs().sum(dim=1).min() > 0
    assert projector.weight.grad.abs().sum() > 0


def test_sub_centres_are_asked_of_the_students_head_only():
    assert "several centres of a class" in build_terms(expand("subcenter_arcface"))[0][2].needs
    assert "several centres of a class" not in Margin(head="teacher", sub_centres=True).needs
    own = Classifier(6, 4, centres=3)
    objective = Objective(build_terms(expand("subcenter_arcface")), own)
    z = torch.randn(5, 4, requires_grad=True)
    objective(z, torch.tensor([0, 1, 2, 3, 5]), torch.arange(5))[0].backward()
    assert (own.weight.grad.abs().sum(dim=1) > 0).sum() >= 5
    with pytest.raises(FacekdError, match="3 centres a class gives cosines and no linear logits"):
        Objective(build_terms(expand("softmax")), own)(z, torch.zeros(5).long(), torch.arange(5))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"margin": "arcfase"}, "margin cannot be 'arcfase'; did you mean 'arcface'"),
        ({"margin": "sofmax"}, "did you mean 'softmax'"),
        ({"margin": "adaface", "easy_margin": True}, "adaface has no setting 'easy_margin'; known"),
        ({"margin": "magface", "lambda": 3.0}, "no setting 'lambda'; did you mean 'lambda_g'"),
        ({"margin": "sphereface", "m": 0.5}, "sphereface: m cannot be 0.5; .* equal to 1"),
        ({"margin": "adaface", "t_alpha": 2.0}, "t_alpha cannot be 2.0"),
        ({"margin": "adaface", "straight_through": "yes"}, "straight_through cannot be 'yes'"),
        ({"margin": "magface", "l_a": 120.0}, "magface: the margin rises .*l_a below u_a"),
        ({"margin": "magface", "l_m": 0.9}, "l_m not above u_m"),
        ({"margin": "cosface", "filter_above": 0.0}, "filter_above cannot be 0.0"),
        ({"margin": "cosface", "filter_above": 1.5}, "filter_above cannot be 1.5"),
        ({"margin": "softmax", "filter_above": 0.4}, "softmax has no setting 'filter_above'"),
        ({"margin": "softmax", "scale": 32.0}, "softmax has no setting 'scale'"),
        ({"margin": 3}, "margin cannot be 3"),
    ],
)
def test_a_wrong_setting_is_told_with_its_margin(spec, message):
    with pytest.raises(FacekdError, match=message):
        build_terms([{"term": "margin", **spec}])
