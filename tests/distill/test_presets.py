import math

import pytest
import torch

from facekd.distill import PRESETS, Objective, Sizes, build_terms, expand
from facekd.errors import FacekdError
from facekd.heads import Classifier


def logsumexp(values: list[float]) -> float:
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


def log_softmax(values: list[float]) -> list[float]:
    return [v - logsumexp(values) for v in values]


def slow_th_kd(z, t, own, other, labels, a, alpha, beta, temperature, m, s):
    """Equations 1 and 2 of arXiv 2201.06945 with ArcFace, on Python numbers."""

    def cosines(v, rows):
        return [
            sum(x * y for x, y in zip(v, w, strict=True)) / math.hypot(*v) / math.hypot(*w)
            for w in rows
        ]

    def cross_entropy(row, label):
        target = math.cos(math.acos(row[label]) + m)
        return -log_softmax([s * (target if j == label else c) for j, c in enumerate(row)])[label]

    def divergence(p, q):
        log_p = log_softmax([s * c / temperature for c in p])
        log_q = log_softmax([s * c / temperature for c in q])
        return sum(math.exp(x) * (x - y) for x, y in zip(log_p, log_q, strict=True))

    total = 0.0
    for v, u, label in zip(z, t, labels, strict=True):
        p_s, p_th, p_t = cosines(v, own), cosines(v, other), cosines(u, other)
        ce = (1 - a) * cross_entropy(p_s, label) + a * cross_entropy(p_th, label)
        kl = (1 - a) * divergence(p_t, p_s) + a * divergence(p_t, p_th)
        d = sum((x / math.hypot(*v) - y / math.hypot(*u)) ** 2 for x, y in zip(v, u, strict=True))
        total += ce + alpha * temperature**2 * kl + beta * d
    return total / len(z)


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 0.0), (0.7, 0.0), (0.0, 5.0), (1.5, 2.0)])
def test_th_kd_is_equations_1_and_2(a, alpha, beta):
    rng = torch.Generator().manual_seed(3)
    z, t, own, other = (torch.randn(n, 4, generator=rng, dtype=torch.float64) for n in (5, 5, 6, 6))
    labels = [0, 5, 2, 2, 4]
    numbers = {"a": a, "alpha": alpha, "beta": beta, "temperature": 3.0, "m": 0.4}
    terms = build_terms(expand({"preset": "th_kd", "scale": 16.0, **numbers}))
    heads = Classifier.from_weight(own, frozen=False), Classifier.from_weight(other)
    objective = Objective(terms, *heads)
    total, _ = objective(z, torch.tensor(labels), torch.arange(5), t)
    expected = slow_th_kd(
        z.tolist(), t.tolist(), own.tolist(), other.tolist(), labels, s=16.0, **numbers
    )
    assert total.item() == pytest.approx(expected, rel=1e-10)


def test_th_kd_leaves_out_what_has_no_weight():
    def names(**settings):
        return [name for name, _, _ in build_terms(expand({"preset": "th_kd", **settings}))]

    assert names() == ["margin", "margin_teacher", "kd", "kd_teacher", "l2e"]
    assert names(a=1, beta=0) == ["margin_teacher", "kd_teacher"]
    assert names(a=0.0, alpha=0) == ["margin", "l2e"]
    assert names(a=1, alpha=0, beta=0) == names_of("proxyless")


def names_of(loss):
    return [name for name, _, _ in build_terms(expand(loss))]


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_builds_and_trains(name):
    torch.manual_seed(0)
    own, other = Classifier(6, 4, bias=True), Classifier(6, 4, bias=True)
    sizes = Sizes(num_images=5, num_classes=6, student_dim=4, teacher_dim=4)
    objective = Objective(build_terms(expand(name), sizes), own, other)
    z = torch.randn(5, 4, requires_grad=True)
    total, _ = objective(z, torch.tensor([0, 1, 3, 3, 5]), torch.arange(5), torch.randn(5, 4))
    total.backward()
    assert z.grad.abs().sum() > 0
    assert PRESETS[name].summary.endswith(".")
    assert PRESETS[name].paper


@pytest.mark.parametrize("name", ["th_kd", "kd"])
def test_plain_softmax_takes_linear_logits_everywhere(name):
    specs = expand({"preset": name, "margin": "softmax"})
    assert {s["logits"] for s in specs if s["term"] == "kd"} == {"linear"}
    assert all(term.linear for _, _, term in build_terms(specs) if hasattr(term, "head"))


def test_expanded_specs_are_plain_data_with_settings_passed_on():
    assert expand({"preset": "l2e", "classification": 0, "beta": 3.0, "reduction": "sum"}) == [
        {"term": "l2e", "weight": 3.0, "reduction": "sum"}
    ]
    assert expand({"preset": "proxyless", "margin": "cosface", "m": 0.4, "scale": 32.0}) == [
        {
            "term": "margin",
            "weight": 1.0,
            "head": "teacher",
            "margin": "cosface",
            "m": 0.4,
            "scale": 32.0,
        }
    ]


def test_lists_combine_presets_and_terms():
    loss = [{"preset": "th_kd", "beta": 0.0}, {"term": "l2e", "weight": 7.0}, "arcface"]
    specs = expand(loss)
    assert specs[-2:] == [{"term": "l2e", "weight": 7.0}, *expand("arcface")]
    assert expand(expand(loss)) == specs
    assert loss[1] == {"term": "l2e", "weight": 7.0}


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("th-kd", "unknown preset 'th-kd'; did you mean 'th_kd'"),
        ({"preset": "th_kd", "bta": 1.0}, "no setting 'bta'; did you mean 'beta'"),
        ({"preset": "th_kd", "a": "0.5"}, "a cannot be '0.5'"),
        ({"preset": "th_kd", "a": 1.5}, "less than or equal to 1"),
        ({"preset": "th_kd", "magin": "arcface"}, "no setting 'magin'; did you mean"),
        ({"preset": "th_kd", "margin": "softmax", "m": 0.5}, "no setting 'm'"),
        ({"preset": "softmax", "m": 0.5}, "no setting 'm'; it has none"),
        ({"preset": "th_kd", "a": math.nan}, "a cannot be nan"),
        ({"preset": 3}, "a loss is"),
        ({}, "a loss is"),
        (None, "a loss is"),
        ([], "no term"),
        ({"preset": "l2e", "beta": 0, "classification": 0.0}, "no term"),
    ],
)
def test_a_wrong_loss_is_told(loss, message):
    with pytest.raises(FacekdError, match=message):
        build_terms(expand(loss))
