"""Presets: names for known lists of terms. They are data; the resolved recipe shows the list.

Each stands beside its method's term. A preset that takes `**margin` hands those settings to its
margin softmax: `margin`, `scale` and what the margin named has.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from facekd.distill.term import TERMS
from facekd.errors import FacekdError
from facekd.registry import Registry, first_line
from facekd.settings import check_settings, setting_names

TermSpec = dict[str, Any]


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
        return first_line(self.build)


PRESETS: Registry[Preset] = Registry("preset")

Builder = Callable[..., list[TermSpec]]


def preset(name: str, paper: str) -> Callable[[Builder], Builder]:
    """Decorator that enters a function of keyword settings as a preset."""

    def enter(build: Builder) -> Builder:
        PRESETS.register(name)(Preset(build, paper))
        return build

    return enter


def expand(loss: str | dict[str, Any] | list[Any], margin: str = "") -> list[TermSpec]:
    """A recipe's loss as a plain list of term specs.

    Args:
        loss: A preset's name; {"preset": name, **settings}; one term spec {"term": ...}; or a list
            of these, which is how methods are combined.
        margin: What presets' margin softmax is where they do not say; "": the preset's own.

    Returns:
        Term specs for `build_terms`, terms with weight zero left out of presets.

    Raises:
        FacekdError: An unknown preset or setting (near names given), a wrong value, or nothing
            left to train on.
    """
    if isinstance(loss, list):
        specs = [spec for part in loss for spec in expand(part, margin)]
    elif isinstance(loss, str):
        specs = _from_preset(loss, {}, margin)
    elif isinstance(loss, dict) and isinstance(loss.get("preset"), str):
        settings = {key: value for key, value in loss.items() if key != "preset"}
        specs = _from_preset(loss["preset"], settings, margin)
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


def _from_preset(name: str, settings: dict[str, Any], default: str) -> list[TermSpec]:
    entry = PRESETS[name]
    own = inspect.signature(entry.build).parameters
    passes_on = any(p.kind is p.VAR_KEYWORD for p in own.values())
    if passes_on and default:
        settings = {"margin": default, **settings}
    margin = TERMS["margin"]
    further = (setting_names(margin) | margin.passes_on()) - {"head"} if passes_on else frozenset()
    check_settings(f"preset {name!r}", entry.build, settings, further)
    return [spec for spec in entry.build(**settings) if spec["weight"] != 0]


def term_spec(term: str, weight: float, **settings: object) -> TermSpec:
    """A spec without the settings that were left open (None)."""
    given = {key: value for key, value in settings.items() if value is not None}
    return {"term": term, "weight": weight, **given}


def soft_settings(
    temperature: float, scale: float | None, margin: dict[str, Any]
) -> dict[str, object]:
    """Settings of a term on softened probabilities beside a margin softmax: equal logits."""
    logits = "linear" if margin.get("margin") == "softmax" else "cosine"
    return {"temperature": temperature, "scale": scale, "logits": logits}
