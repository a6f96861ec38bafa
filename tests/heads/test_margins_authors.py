"""Our margins and sub-centres against numbers that the authors' code gave (tests/fixtures)."""

import pytest
import torch
from authors_numbers import close, fixture
from torch import Tensor

from facekd.distill import Objective, build_terms
from facekd.heads import MARGINS, Classifier, CosineMargin
from facekd.heads.margin_functions import filter_others
from facekd.train.subcentres import dominant_centres


def run(margin: CosineMargin, head: Classifier, z: Tensor, inputs: dict) -> Tensor:
    """Scaled cosines with the margin; gradients of their weighted sum go into z and head."""
    head.weight.grad = None
    out = 64.0 * margin(head.cosines(z), inputs["labels"], z)
    (out * inputs["weights"]).sum().backward()
    return out


@pytest.mark.parametrize("name", ["default", "four"])
def test_sphereface_is_opensphere(name):
    inputs, results = fixture("sphereface")
    expected = results[name]
    settings = {} if name == "default" else {"m": expected["m"], "scale": expected["scale"]}
    head = Classifier.from_weight(inputs["weight"], frozen=False)
    terms = build_terms([{"term": "margin", "margin": "sphereface", **settings}])
    assert terms[0][2].scale == expected["scale"]
    z = inputs["embeddings"].requires_grad_()
    angles = head.cosines(z).gather(1, inputs["labels"].unsqueeze(1)).acos()
    assert (expected["m"] * angles > torch.pi).sum() >= 2
    total, _ = Objective(terms, head)(z, inputs["labels"], torch.arange(len(z)))
    close(total, expected["value"])
    total.backward()
    close(z.grad, expected["gradients"]["embeddings"])
    theirs = torch.tensor(expected["gradients"]["weight"], dtype=torch.float64)
    radial = (theirs * inputs["weight"]).sum(dim=1, keepdim=True) * inputs["weight"]
    close(head.weight.grad, (theirs - radial).tolist())


@pytest.mark.parametrize("name", ["slow", "fast"])
def test_adaface_step_by_step(name):
    inputs, results = fixture("adaface")
    head = Classifier.from_weight(inputs["weight"], frozen=False)
    margin = MARGINS["adaface"](**results[name]["settings"]).double()
    for raw, expected in zip(inputs["embeddings"], results[name]["steps"], strict=True):
        z = raw.clone().requires_grad_()
        close(run(margin, head, z, inputs), expected["value"])
        close(margin.batch_mean, expected["batch_mean"])
        close(margin.batch_std, expected["batch_std"])
        close(z.grad, expected["gradients"]["embeddings"])
        close(head.weight.grad.T, expected["gradients"]["weight_transposed"])


@pytest.mark.parametrize("name", ["easy", "hard"])
def test_magface(name):
    inputs, results = fixture("magface")
    head = Classifier.from_weight(inputs["weight"], frozen=False)
    ranges = {key: inputs[key] for key in ("l_a", "u_a", "l_m", "u_m", "lambda_g")}
    assert ranges == {k: v for k, v in vars(MARGINS["magface"]()).items() if k in ranges}
    spec = {"term": "margin", "margin": "magface", "easy_margin": name == "easy", **ranges}
    z = inputs["embeddings"].requires_grad_()
    total, _ = Objective(build_terms([spec]), head)(z, inputs["labels"], torch.arange(len(z)))
    close(total, results[name]["value"])
    total.backward()
    close(z.grad, results[name]["gradients"]["embeddings"])
    close(head.weight.grad.T, results[name]["gradients"]["weight_transposed"])


def test_curricularface_step_by_step():
    inputs, results = fixture("curricularface")
    head = Classifier.from_weight(inputs["weight"], frozen=False)
    margin = MARGINS["curricularface"]().double()
    margin.t.fill_(inputs["start"])
    for raw, expected in zip(inputs["embeddings"], results["steps"], strict=True):
        z = raw.clone().requires_grad_()
        close(run(margin, head, z, inputs), expected["value"])
        close(margin.t, expected["t"])
        close(z.grad, expected["gradients"]["embeddings"])
        close(head.weight.grad.T, expected["gradients"]["weight_transposed"])


@pytest.mark.parametrize(
    ("name", "settings"), [("arcface", {"straight_through": True}), ("cosface", {"m": 0.4})]
)
def test_filtered_classes_are_insightfaces(name, settings):
    inputs, results = fixture("interclass_filter")
    cosines = inputs["cosines"].requires_grad_()
    kept = filter_others(cosines, inputs["labels"], inputs["above"])
    assert (kept != cosines).sum() > 5
    out = 64.0 * MARGINS[name](**settings)(kept, inputs["labels"], cosines)
    close(out, results[name]["value"])
    (out * inputs["weights"]).sum().backward()
    close(cosines.grad, results[name]["gradients"]["cosines"])


def test_several_centres_are_those_of_the_mxnet_code():
    inputs, results = fixture("subcenter")
    head = Classifier.from_weight(inputs["weight"], frozen=False, centres=inputs["centres"])
    z = inputs["embeddings"].requires_grad_()
    close(run(MARGINS["arcface"](), head, z, inputs), results["arcface"]["value"])
    close(z.grad, results["arcface"]["gradients"]["embeddings"])
    close(head.weight.grad, results["arcface"]["gradients"]["weight"])


def test_dominant_centres_and_what_is_kept_are_those_of_drop_py():
    inputs, results = fixture("subcenter")
    head = Classifier.from_weight(inputs["weight"], centres=inputs["centres"])
    labels = inputs["images_labels"].long()
    every = head.centre_cosines(inputs["images"])[torch.arange(len(labels)), labels]
    chosen = dominant_centres(labels.numpy(), every.numpy(), head.num_classes)
    head.dominant.copy_(torch.from_numpy(chosen))
    own = head.with_dominant_centres().cosines(inputs["images"])
    degrees = own.gather(1, labels.unsqueeze(1)).squeeze(1).acos().rad2deg()
    assert torch.flatten((degrees < 75).nonzero()).tolist() == results["kept"]
    assert len(set(chosen.tolist())) > 1
