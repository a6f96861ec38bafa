"""Our terms and margins against numbers that the authors' code gave (tests/fixtures/make_*.py)."""

import pytest
import torch
from authors_numbers import close, fixture

from facekd.distill import Objective, Sizes, build_terms, expand
from facekd.heads import MARGINS, Classifier, arcface
from facekd.heads.compare import compare_heads

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


def preset_of(name, gamma, alpha, beta, delta):
    """The preset as a classification stage has it, with small sizes where it is CRD."""
    settings = {"classification": gamma, "alpha": alpha, "beta": beta}
    settings |= {"delta": delta} if delta else {}
    settings |= {"negatives": 6} if "crd" in name else {}
    specs = expand({"preset": name, **settings}, margin="softmax")
    return [{**spec, "width": 8} if spec["term"] == "crd" else spec for spec in specs]


@pytest.mark.parametrize("name", ["kdth", "kde", "kdeth", "crd", "crdth"])
def test_whole_losses_of_headsharings_training_step(name):
    """gamma CE + alpha KL + beta loss_kd as `helper/loops.py` puts them together."""
    inputs, results = fixture("headsharing_losses")
    expected = results[name]
    student_head = Classifier.from_weight(
        inputs["student_weight"], inputs["student_bias"], frozen=False
    )
    teacher_head = Classifier.from_weight(inputs["teacher_weight"], inputs["teacher_bias"])
    terms = build_terms(preset_of(name, *expected["weights"]), Sizes(12, 7, 5, 5))
    objective = Objective(terms, student_head, teacher_head).double()
    learning = {"student_weight": student_head.weight, "student_bias": student_head.bias}
    for key, numbers in expected.get("crd", {}).items():
        held = objective.terms["crd"].get_parameter if "bank" not in key else None
        tensor = held(key) if held else objective.terms["crd"].get_buffer(key)
        with torch.no_grad():
            tensor.copy_(torch.tensor(numbers, dtype=torch.float64))
        learning |= {f"crd.{key}": tensor} if held else {}
    if "crd" in objective.terms:
        drawn = inputs["drawn"].long()
        objective.terms["crd"].draw = lambda batch, images: drawn
    z = inputs["student"].requires_grad_()
    total, _ = objective(z, inputs["labels"], inputs["position"].long(), inputs["teacher"])
    torch.testing.assert_close(total.item(), expected["value"], rtol=1e-5, atol=0)
    total.backward()
    for key, tensor in {"student": z, **learning}.items():
        theirs = torch.tensor(expected["gradients"][key], dtype=torch.float64)
        # CRD's denominators have 1e-7 more in their code: seen where a sum of gradients cancels
        small = 1e-7 * float(theirs.abs().max()) if "crd" in objective.terms else 1e-12
        torch.testing.assert_close(tensor.grad, theirs, rtol=1e-5, atol=small)
    assert teacher_head.weight.grad is None


def test_heads_are_compared_as_the_authors_do():
    inputs, results = fixture("headsharing_losses")
    sides = [
        Classifier.from_weight(inputs[f"{side}_weight"], inputs[f"{side}_bias"])
        for side in ("student", "teacher")
    ]
    theirs = results["heads"]
    theirs["bias_mean_abs"], theirs["bias_cosine"] = theirs.pop("bias_abs"), theirs.pop("bias_cos")
    assert compare_heads(*sides) == pytest.approx(theirs, abs=1e-6)


def test_the_authors_weights_are_the_presets_defaults():
    weights = {name: [s["weight"] for s in expand(name)] for name in ("kdth", "crdth")}
    assert weights == {"kdth": [1.0, 1.5, 0.02], "crdth": [0.9, 1.0, 0.8, 0.02]}
    linear = {s.get("logits", "linear") for n in weights for s in expand(n, margin="softmax")}
    assert linear == {"linear"}


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
