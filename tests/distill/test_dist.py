"""DIST against loops and its authors' numbers."""

import pytest
import torch
from authors_numbers import close, fixture
from slow import LABELS, B, Batch, C, D, compare
from torch import Tensor

from facekd.distill import Objective, Step, build_terms, expand
from facekd.distill.dist import DIST
from facekd.errors import FacekdError
from facekd.heads import Classifier


def slow_softmax(row: list[Tensor], temperature: float) -> list[Tensor]:
    powers = [torch.exp((v - max(row)) / temperature) for v in row]
    return [v / sum(powers) for v in powers]


def slow_pearson(a: list[Tensor], b: list[Tensor]) -> Tensor:
    a, b = [v - sum(a) / len(a) for v in a], [v - sum(b) / len(b) for v in b]
    lengths = torch.sqrt(sum(v * v for v in a)) * torch.sqrt(sum(v * v for v in b))
    return sum(v * w for v, w in zip(a, b, strict=True)) / (lengths + 1e-8)


@pytest.mark.parametrize("logits", ["cosine", "linear"])
@pytest.mark.parametrize(
    ("side", "projected", "teacher_dim"),
    [("student", False, 4), ("teacher", False, 4), ("student", False, 7), ("teacher", True, 7)],
)
def test_dist(side, projected, teacher_dim, logits):
    scale = 8.0 if logits == "cosine" else None

    def slow(batch: Batch) -> Tensor:
        teacher = batch.rows(batch.t, batch.other, scale)
        read = (batch.z, batch.own) if side == "student" else (batch.projected, batch.other)
        student = batch.rows(*read, scale)
        teacher, student = ([slow_softmax(row, 3.0) for row in rows] for rows in (teacher, student))
        total = torch.zeros((), dtype=torch.float64)
        for i in range(B):
            total = total + 2.0 * (1 - slow_pearson(student[i], teacher[i])) / B
        for j in range(C):
            columns = ([row[j] for row in rows] for rows in (student, teacher))
            total = total + 0.5 * (1 - slow_pearson(*columns)) / C
        return 3.0**2 * total

    term = DIST(head=side, temperature=3.0, scale=scale, logits=logits, beta=2.0, gamma=0.5)
    compare(term, slow, lambda: Batch(teacher_dim, projected))


@pytest.mark.parametrize("name", ["default", "weighted"])
def test_authors_dist(name):
    inputs, results = fixture("dist")
    settings = inputs["settings"][name]
    settings["temperature"] = settings.pop("tau", 1.0)
    own = Classifier.from_weight(inputs["student_weight"], inputs["student_bias"], frozen=False)
    other = Classifier.from_weight(inputs["teacher_weight"], inputs["teacher_bias"])
    z = inputs["student"].requires_grad_()
    step = Step(z, torch.zeros(6), torch.arange(6), inputs["teacher"], own, other)
    value = DIST(logits="linear", **settings)(step)
    close(value, results[name]["value"])
    value.backward()
    close(z.grad, results[name]["gradients"]["student"])
    close(own.weight.grad, results[name]["gradients"]["student_weight"])
    close(own.bias.grad, results[name]["gradients"]["student_bias"])


def test_needs_and_edges():
    assert DIST().needs == {"student_head", "teacher_head", "teacher_embeddings"}
    assert DIST(head="teacher").needs == {"teacher_head", "teacher_embeddings", "projector"}
    batch = Batch()
    batch.step.embeddings = batch.t.clone()
    assert DIST(head="teacher")(batch.step).item() == pytest.approx(0, abs=1e-5)
    batch = Batch()
    alone = Step(batch.z[:1], LABELS[:1], torch.arange(1), batch.t[:1], batch.own, batch.other)
    DIST()(alone).backward()
    assert batch.z.grad.isfinite().all()
    batch.step.teacher_head = Classifier(C + 1, D).double()
    with pytest.raises(FacekdError, match=r"'dist': the student's head has 6 classes .* 7"):
        DIST()(batch.step)
    with pytest.raises(FacekdError, match="'dist': linear logits have no setting 'scale'"):
        build_terms([{"term": "dist", "logits": "linear", "scale": 64.0}])


def test_many_identities_that_the_batch_comes_nowhere_near():
    """Their probabilities are too small for float32: no NaN, and the others go on pulling."""
    torch.manual_seed(0)
    other = Classifier.from_weight(torch.randn(5000, 64))
    z = torch.randn(8, 64, requires_grad=True)
    step = Step(z, torch.zeros(8), torch.arange(8), other.weight[:8], None, other)
    DIST(head="teacher", temperature=1.0)(step).backward()
    assert z.grad.isfinite().all()
    assert z.grad.abs().sum() > 0


def test_preset():
    specs = expand({"preset": "dist", "scale": 32.0})
    assert specs[0] == {"term": "margin", "weight": 1.0, "scale": 32.0}
    assert specs[1] == {
        "term": "dist", "weight": 2.0, "head": "student", "beta": 1.0, "gamma": 1.0,
        "temperature": 4.0, "scale": 32.0, "logits": "cosine",
    }  # fmt: skip
    assert expand({"preset": "dist", "margin": "softmax"})[1]["logits"] == "linear"
    z, own, other = torch.randn(B, D, requires_grad=True), Classifier(C, D), Classifier(C, 7)
    objective = Objective(build_terms(specs), own, other)
    total, values = objective(z, LABELS, torch.arange(B), torch.randn(B, 7))
    total.backward()
    torch.testing.assert_close(total, values["margin"] + 2 * values["dist"])
    assert z.grad.isfinite().all()
