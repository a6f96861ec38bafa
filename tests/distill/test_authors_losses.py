"""Our terms and margins against numbers that the authors' code gave (tests/fixtures/make_*.py)."""

import pytest
import torch
from authors_numbers import close, fixture

from facekd.distill import Objective, build_terms
from facekd.heads import MARGINS, Classifier, arcface

# One row per loss of HeadSharingKD: the terms that reproduce it.
HEADSHARING = {
    "kd": [{"term": "kd", "temperature": 4.0, "logits": "linear"}],
    "kdth": [{"term": "kd", "head": "teacher", "temperature": 4.0, "logits": "linear"}],
    "kde": [{"term": "l2e", "reduction": "sum"}],
    "kdeth": [
        {"term": "l2e", "reduction": "sum"},
        {"term": "kd", "weight": 0.3, "head": "teacher", "logits": "linear"},
    ],
}


@pytest.mark.parametrize("name", HEADSHARING)
def test_headsharing(name):
    inputs, results = fixture("headsharing")
    assert (inputs["temperature"], inputs["th_weight"]) == (4.0, 0.3)
    student_head = Classifier.from_weight(
        inputs["student_weight"], inputs["student_bias"], frozen=False
    )
    teacher_head = Classifier.from_weight(inputs["teacher_weight"], inputs["teacher_bias"])
    objective = Objective(build_terms(HEADSHARING[name]), student_head, teacher_head)
    z = inputs["student"].requires_grad_()
    total, _ = objective(z, torch.zeros(6, dtype=torch.int64), torch.arange(6), inputs["teacher"])
    close(total, results[name]["value"])
    total.backward()
    found = {"student": z, "student_weight": student_head.weight, "student_bias": student_head.bias}
    expected = results[name]["gradients"]
    for key, tensor in found.items():
        if key in expected:
            close(tensor.grad, expected[key])
        else:
            assert tensor.grad is None
    assert teacher_head.weight.grad is None


@pytest.mark.parametrize(
    ("name", "margin", "settings"),
    [
        ("arcface", "arcface", {"m": 0.5}),
        ("cosface", "cosface", {"m": 0.4}),
        ("combined_arc", "combined", {"m1": 1.0, "m2": 0.3, "m3": 0.0}),
        ("combined_cos", "combined", {"m1": 1.0, "m2": 0.0, "m3": 0.2}),
    ],
)
def test_straight_through_is_insightface(name, margin, settings):
    inputs, results = fixture("arcface_losses")
    cosines = inputs["cosines"].requires_grad_()
    rule = MARGINS[margin](straight_through=True, **settings)
    out = 64.0 * rule(cosines, inputs["labels"], cosines)
    close(out, results[name]["value"])
    (out * inputs["weights"]).sum().backward()
    close(cosines.grad, results[name]["gradients"]["cosines"])
    assert (inputs["labels"] == -1).any()


def test_true_gradient_is_that_of_curricularfaces_arcface():
    inputs, results = fixture("curricularface_arcface")
    head = Classifier.from_weight(inputs["weight"], frozen=False)
    z = inputs["embeddings"].requires_grad_()
    cosines = head.cosines(z)
    beyond = cosines.gather(1, inputs["labels"].unsqueeze(1)) < -torch.tensor(0.5).cos()
    assert beyond.sum() == 2
    out = 64.0 * arcface(cosines, inputs["labels"], m=0.5)
    close(out, results["arcface"]["value"])
    (out * inputs["weights"]).sum().backward()
    close(z.grad, results["arcface"]["gradients"]["embeddings"])
    close(head.weight.grad.T, results["arcface"]["gradients"]["weight_transposed"])
