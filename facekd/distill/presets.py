"""Presets: names for known lists of terms. They are data; the resolved recipe shows the list."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from facekd.distill.settings import Angle, Fraction, NotNegative, Positive, check_settings
from facekd.errors import FacekdError
from facekd.registry import Registry

TermSpec = dict[str, Any]
MarginName = Literal["arcface", "cosface", "softmax"]


@dataclass(frozen=True)
class Preset:
    """A named list of terms with settings.

    Attributes:
        build: Keyword settings, all with defaults -> term specs.
        paper: Where the method comes from.
    """

    build: Callable[..., list[TermSpec]]
    paper: str

    @property
    def summary(self) -> str:
        """The first line of the builder's docstring."""
        return (inspect.getdoc(self.build) or "").partition("\n")[0]


PRESETS: Registry[Preset] = Registry("preset")

Builder = Callable[..., list[TermSpec]]


def preset(name: str, paper: str) -> Callable[[Builder], Builder]:
    """Decorator that enters a function of keyword settings as a preset."""

    def enter(build: Builder) -> Builder:
        PRESETS.register(name)(Preset(build, paper))
        return build

    return enter


def expand(loss: str | dict[str, Any] | list[Any]) -> list[TermSpec]:
    """A recipe's loss as a plain list of term specs.

    Args:
        loss: A preset's name; {"preset": name, **settings}; one term spec {"term": ...}; or a list
            of these, which is how methods are combined.

    Returns:
        Term specs for `build_terms`, terms with weight zero left out of presets.

    Raises:
        FacekdError: An unknown preset or setting (near names given), a wrong value, or nothing
            left to train on.
    """
    if isinstance(loss, list):
        specs = [spec for part in loss for spec in expand(part)]
    elif isinstance(loss, str):
        specs = _from_preset(loss, {})
    elif isinstance(loss, dict) and isinstance(loss.get("preset"), str):
        settings = {key: value for key, value in loss.items() if key != "preset"}
        specs = _from_preset(loss["preset"], settings)
    elif isinstance(loss, dict) and "term" in loss:
        specs = [dict(loss)]
    else:
        raise FacekdError(
            "a loss is a preset's name, a mapping with `preset:` or `term:`, or a list of these; "
            f"found {loss!r}."
        )
    if not specs:
        raise FacekdError(f"the loss {loss!r} has no term with a weight above zero.")
    return specs


def _from_preset(name: str, settings: dict[str, Any]) -> list[TermSpec]:
    entry = PRESETS[name]
    check_settings(f"preset {name!r}", entry.build, settings)
    return [spec for spec in entry.build(**settings) if spec["weight"] != 0]


def _term(term: str, weight: float, **settings: object) -> TermSpec:
    """A spec without the settings that were left open (None)."""
    given = {key: value for key, value in settings.items() if value is not None}
    return {"term": term, "weight": weight, **given}


@preset("arcface", paper="arXiv 1801.07698")
def arcface(
    m: Angle = 0.5, scale: Positive = 64.0, straight_through: bool = False
) -> list[TermSpec]:
    """ArcFace on the student's own head: no teacher."""
    return [
        _term("margin", 1.0, margin="arcface", m=m, scale=scale, straight_through=straight_through)
    ]


@preset("cosface", paper="arXiv 1801.09414")
def cosface(m: Angle = 0.35, scale: Positive = 64.0) -> list[TermSpec]:
    """CosFace on the student's own head: no teacher."""
    return [_term("margin", 1.0, margin="cosface", m=m, scale=scale)]


@preset("softmax", paper="none: the textbook's softmax")
def softmax() -> list[TermSpec]:
    """Plain softmax on linear logits with bias: no teacher, no margin."""
    return [_term("margin", 1.0, margin="softmax")]


@preset("proxyless", paper="ProxylessKD, arXiv 2011.00265")
def proxyless(
    margin: MarginName = "arcface",
    m: Angle | None = None,
    scale: Positive | None = None,
    straight_through: bool | None = None,
) -> list[TermSpec]:
    """ProxylessKD: the student learns under the teacher's frozen head alone."""
    shape = {"margin": margin, "m": m, "scale": scale, "straight_through": straight_through}
    return [_term("margin", 1.0, head="teacher", **shape)]


@preset("l2e", paper="L2E / KDE as in arXiv 2201.06945")
def l2e(
    classification: NotNegative = 1.0,
    beta: NotNegative = 1.0,
    reduction: Literal["mean", "sum"] = "mean",
    margin: MarginName = "arcface",
    m: Angle | None = None,
    scale: Positive | None = None,
    straight_through: bool | None = None,
) -> list[TermSpec]:
    """L2E: classification x margin softmax + beta x distance between normalised embeddings.

    `classification: 0` is the embedding distance alone, which needs no labels.
    """
    shape = {"margin": margin, "m": m, "scale": scale, "straight_through": straight_through}
    return [_term("margin", classification, **shape), _term("l2e", beta, reduction=reduction)]


@preset("kd", paper="arXiv 1503.02531")
def kd(
    classification: NotNegative = 1.0,
    beta: NotNegative = 1.0,
    temperature: Positive = 4.0,
    margin: MarginName = "arcface",
    m: Angle | None = None,
    scale: Positive | None = None,
    straight_through: bool | None = None,
) -> list[TermSpec]:
    """KD: classification x margin softmax + beta x KL to the teacher's softmax.

    `scale` serves both terms; with `margin: softmax` both take linear logits.
    """
    shape = {"margin": margin, "m": m, "scale": scale, "straight_through": straight_through}
    logits = "linear" if margin == "softmax" else "cosine"
    return [
        _term("margin", classification, **shape),
        _term("kd", beta, temperature=temperature, scale=scale, logits=logits),
    ]


@preset("th_kd", paper="HeadSharingKD, arXiv 2201.06945")
def th_kd(
    a: Fraction = 0.5,
    alpha: NotNegative = 1.0,
    beta: NotNegative = 1.0,
    temperature: Positive = 4.0,
    reduction: Literal["mean", "sum"] = "mean",
    margin: MarginName = "arcface",
    m: Angle | None = None,
    scale: Positive | None = None,
    straight_through: bool | None = None,
) -> list[TermSpec]:
    """TH-KD: the teacher's frozen head is a second head of the student.

    L = CE' + alpha H' + beta D, with
    H'  = (1-a) KL(p_t || p_s) + a KL(p_t || p_s^TH), times T^2   (equation 1)
    CE' = (1-a) CE(p_s, y) + a CE(p_s^TH, y)                      (equation 2)
    and D the distance between normalised embeddings. The paper does not state a, alpha and beta
    for faces: the defaults are ours. Cross-entropies have the margin, KLs do not. The authors'
    CIFAR-100 code differs: it has no CE(p_s^TH, y), free weights, linear logits with bias and a D
    summed over the batch; list the terms to get it (`{term: margin, margin: softmax}`, `{term: kd,
    logits: linear}`, `{term: kd, head: teacher, logits: linear}`, `{term: l2e, reduction: sum}`).

    Args:
        a: The share of the teacher's head, alpha_TH in the paper, in [0, 1]; 1 leaves the student
            no other head.
        alpha: Weight of H'; 0 leaves the KLs out.
        beta: Weight of D; 0 leaves it out.
        temperature: T of both KLs.
        reduction: D's, "mean" or "sum" over the batch.
        margin: Of both cross-entropies; "softmax" takes linear logits everywhere.
        m: The margin (default 0.5 for arcface, 0.35 for cosface).
        scale: What cosines are multiplied by (default 64).
        straight_through: insightface's gradient instead of the true one.
    """
    shape = {"margin": margin, "m": m, "scale": scale, "straight_through": straight_through}
    logits = "linear" if margin == "softmax" else "cosine"
    soft = {"temperature": temperature, "scale": scale, "logits": logits}
    return [
        _term("margin", 1 - a, head="student", **shape),
        _term("margin", a, head="teacher", **shape),
        _term("kd", alpha * (1 - a), head="student", **soft),
        _term("kd", alpha * a, head="teacher", **soft),
        _term("l2e", beta, reduction=reduction),
    ]
