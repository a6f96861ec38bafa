"""GKD against loops, the authors' numbers, plain KD, bad input, and two processes."""

import pytest
import torch
from authors_numbers import close, fixture
from slow import LABELS, B, Batch, C, D, compare, slow_kl
from torch import Tensor
from two_processes import in_this_process, run_together

from facekd.distill import Objective, Step, build_terms, expand
from facekd.distill.gkd import GKD
from facekd.distill.kd import KD
from facekd.errors import FacekdError
from facekd.heads import Classifier

SCALE, M, T = 8.0, 0.3, 3.0


def with_margin(rows: list[list[Tensor]]) -> list[list[Tensor]]:
    pairs = zip(rows, LABELS.tolist(), strict=True)
    return [[v - SCALE * M * (j == y) for j, v in enumerate(row)] for row, y in pairs]


def group_size(student: list[list[Tensor]], tau: float) -> int:
    """The fewest classes whose average probabilities reach tau."""
    average = [0.0] * C
    for row in student:
        e = [torch.exp(v).item() for v in row]
        average = [a + v / sum(e) / B for a, v in zip(average, e, strict=True)]
    total = 0.0
    for n, share in enumerate(sorted(average, reverse=True), start=1):
        total += share
        if total >= tau:
            return n
    return C


def slow_gkd(batch: Batch, n: int | None, weights: tuple[float, float, float], tau: float = 0.0):
    student = with_margin(batch.rows(batch.z, batch.own, SCALE))
    teacher = with_margin(batch.rows(batch.t, batch.other, SCALE))
    n = group_size(student, tau) if n is None else n
    bkd, pkd, skd = weights
    total = torch.zeros((), dtype=torch.float64)
    for s, t, y in zip(student, teacher, LABELS.tolist(), strict=True):
        others = sorted((j for j in range(C) if j != y), key=lambda j: -s[j].item())
        inside, rest = [y, *others[: n - 1]], others[n - 1 :]
        s, t = [v / T for v in s], [v / T for v in t]

        def mass(row: list[Tensor], group: list[int]) -> Tensor:
            return sum(torch.exp(row[j]) for j in group) / sum(torch.exp(v) for v in row)

        for group, weight in ((inside, pkd), (rest, skd)):
            total = total + weight * slow_kl([t[j] for j in group], [s[j] for j in group])
            p, q = mass(t, group), mass(s, group)
            total = total + bkd * p * torch.log(p / q)
    return T**2 * total / B


@pytest.mark.parametrize("weights", [(1.0, 8.0, 0.0), (0.7, 0.0, 0.0), (0.0, 0.0, 0.4)])
@pytest.mark.parametrize("n", [1, 3, 5])
def test_fixed_group_by_loops(n, weights):
    names = dict(zip(("bkd", "pkd", "skd"), weights, strict=True))
    term = GKD(classes=n, temperature=T, ramp_epochs=0.0, m=M, scale=SCALE, **names)
    compare(term, lambda batch: slow_gkd(batch, n, weights))


@pytest.mark.parametrize(("tau", "n"), [(0.2, 1), (0.6, 2), (0.9, 5)])
def test_adaptive_group_by_loops(tau, n):
    batch = Batch()
    assert group_size(with_margin(batch.rows(batch.z, batch.own, SCALE)), tau) == n
    term = GKD(group="adaptive", tau=tau, temperature=T, ramp_epochs=0.0, m=M, scale=SCALE)
    compare(term, lambda batch: slow_gkd(batch, None, (1.0, 8.0, 0.0), tau))


AUTHORS = {
    "fixed_third_epoch": ({"classes": 8}, 3.0),
    "fixed_secondary": ({"classes": 8, "skd": 0.5}, 10.0),
    "adaptive": ({"group": "adaptive", "pkd": 4.0}, 99.0),
}


@pytest.mark.parametrize("name", [*AUTHORS, "ce"])
def test_the_authors_numbers(name):
    inputs, results = fixture("gkd")
    assert (inputs["m"], inputs["scale"]) == (0.4, 64.0)
    specs = expand("gkd")[:1]
    settings, epoch = AUTHORS.get(name, ({}, 0.0))
    if name != "ce":
        specs = [{"term": "gkd", **settings}]
    own = Classifier.from_weight(inputs["student_weight"], frozen=False)
    objective = Objective(build_terms(specs), own, Classifier.from_weight(inputs["teacher_weight"]))
    z = inputs["student"].requires_grad_()
    total, _ = objective(z, inputs["labels"], torch.arange(6), inputs["teacher"], epoch=epoch)
    close(total, results[name]["value"])
    total.backward()
    close(z.grad, results[name]["gradients"]["student"])
    close(own.weight.grad, results[name]["gradients"]["student_weight"])


@pytest.mark.parametrize("settings", [{}, {"classes": C}, {"group": "adaptive", "tau": 1.0}])
def test_without_a_rest_it_is_kd(settings):
    ours, kd = Batch(), Batch()
    term = GKD(pkd=1.0, skd=1.0, ramp_epochs=0.0, margin_on_logits=False, **settings)
    value, expected = term(ours.step), KD()(kd.step)
    torch.testing.assert_close(value, expected)
    for a, b in zip(ours.gradients(value), kd.gradients(expected), strict=True):
        torch.testing.assert_close(a, b)


def test_equal_weights_and_masses_make_it_up_to_kd():
    """KL(t || s) = KL of the masses + p_t(G) KL in G + p_t(rest) KL in the rest."""
    batch = Batch()
    row = [v.detach() for v in batch.rows(batch.t, batch.other, 8.0)[0]]
    row_s = [v.detach() for v in batch.rows(batch.z, batch.own, 8.0)[0]]
    y = LABELS[0].item()
    step = Step(batch.z[:1], LABELS[:1], torch.arange(1), batch.t[:1], batch.own, batch.other)
    shared = {"classes": 2, "scale": 8.0, "temperature": 1.0, "ramp_epochs": 0.0}

    def part(**weights: float) -> float:
        zero = {"bkd": 0.0, "pkd": 0.0, "skd": 0.0}
        return GKD(margin_on_logits=False, **shared, **(zero | weights))(step).item()

    top = max((j for j in range(C) if j != y), key=lambda j: row_s[j].item())
    mass = torch.softmax(torch.stack(row), 0)[[y, top]].sum().item()
    whole = part(bkd=1.0) + mass * part(pkd=1.0) + (1 - mass) * part(skd=1.0)
    assert whole == pytest.approx(slow_kl(row, row_s).item(), rel=1e-10)


def test_it_grows_with_time():
    def at(epoch: float, **settings: float) -> float:
        batch = Batch()
        batch.step.epoch = epoch
        return GKD(classes=3, **settings)(batch.step).item()

    full = at(0.0, ramp_epochs=0.0)
    assert full > 0
    assert [at(e) for e in (0.0, 2.5, 10.0, 17.0)] == pytest.approx([0, full / 4, full, full])


def test_rows_without_a_label_are_distilled_without_a_margin():
    batch = Batch()
    none = Step(
        batch.z, torch.full((B,), -1), torch.arange(B), batch.t, batch.own, batch.other, epoch=99
    )
    for settings in ({"classes": 3}, {"group": "adaptive"}):
        value = GKD(**settings)(none)
        assert value.isfinite()
        assert torch.equal(value, GKD(margin_on_logits=False, **settings)(none))
    likeliest = batch.step.cosines("student", "student").argmax(dim=1)
    as_labels = Step(batch.z, likeliest, torch.arange(B), batch.t, batch.own, batch.other, epoch=99)
    assert torch.equal(
        GKD(margin_on_logits=False, classes=3)(none),
        GKD(margin_on_logits=False, classes=3)(as_labels),
    )


def test_extremes_are_finite():
    """float32, scale 64: embeddings of length zero, equal to, and opposite to class vectors."""
    weight = torch.randn(C, D, generator=torch.Generator().manual_seed(0))
    z = torch.stack([torch.zeros(D), weight[5], -weight[3], 1e4 * weight[3], 1e-4 * weight[1]])
    z.requires_grad_()
    own, other = Classifier.from_weight(weight, frozen=False), Classifier.from_weight(weight)
    for settings in ({"classes": 2, "skd": 1.0}, {"group": "adaptive", "tau": 0.5, "skd": 1.0}):
        step = Step(z, LABELS, torch.arange(B), -z.detach(), own, other, epoch=99)
        value = GKD(**settings)(step)
        assert value.isfinite()
        for gradient in torch.autograd.grad(value, [z, own.weight]):
            assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group": "fix"}, "did you mean 'fixed'"),
        ({"classes": 0}, "classes cannot be 0"),
        ({"classes": 1.5}, "classes cannot be 1.5"),
        ({"tau": 1.2}, "tau cannot be 1.2"),
        ({"ramp_epochs": -1.0}, "ramp_epochs cannot be -1.0"),
    ],
)
def test_a_wrong_setting_is_told(settings, message):
    with pytest.raises(FacekdError, match=message):
        build_terms(expand({"preset": "gkd", **settings}))


def test_other_classes_are_told():
    step = Step(torch.randn(B, D), LABELS, torch.arange(B), torch.randn(B, 3))
    step.student_head, step.teacher_head = Classifier(C, D), Classifier(C + 1, 3)
    with pytest.raises(FacekdError, match="6 classes and the teacher's 7"):
        GKD()(step)


SCRIPT = """
from facekd.distill import Step
from facekd.distill.gkd import GKD
from facekd.heads import Classifier

torch.manual_seed(3)
z, t = torch.randn(2, 8, 6, dtype=torch.float64)
own, other = (Classifier.from_weight(torch.randn(9, 6, dtype=torch.float64)) for _ in range(2))
labels = torch.tensor([0, 1, 1, 2, 4, 1, 0, 2])
rows = slice(None) if world == 1 else slice(4 * rank, 4 * rank + 4)
step = Step(z[rows], labels[rows], torch.arange(8)[rows], t[rows], own, other, epoch=99)
term = GKD(group="adaptive", tau=0.9, scale=8.0)
result["value"] = term(step)
result["n"] = torch.tensor(term.group_size(8.0 * own.cosines(z[rows]), step.classes("student")))
"""


def test_two_processes_agree_on_the_group(tmp_path):
    alone = in_this_process(SCRIPT)
    first, second = run_together(SCRIPT, tmp_path)
    assert first["n"] == second["n"] == alone["n"]
    together = (first["value"] + second["value"]) / 2
    torch.testing.assert_close(together, alone["value"], rtol=1e-12, atol=0)


def test_the_preset_trains():
    torch.manual_seed(0)
    specs = expand({"preset": "gkd", "classes": 3, "beta": 0.5})
    assert [(s["term"], s["weight"]) for s in specs] == [("margin", 1.0), ("gkd", 0.5)]
    own, other = Classifier(C, D), Classifier(C, D)
    objective = Objective(build_terms(specs), own, other)
    z = torch.randn(B, D, requires_grad=True)
    total, values = objective(z, LABELS, torch.arange(B), torch.randn(B, D), epoch=2.0)
    total.backward()
    assert total.item() == pytest.approx((values["margin"] + 0.5 * values["gkd"]).item())
    assert values["gkd"] > 0
    assert z.grad.abs().sum() > 0
    assert own.weight.grad.abs().sum() > 0
