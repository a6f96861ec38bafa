"""Losses: weighted sums of terms, and the presets that name known ones."""

from importlib import import_module
from pkgutil import iter_modules

from facekd.distill.objective import Objective, Projector
from facekd.distill.presets import PRESETS, expand
from facekd.distill.term import TERMS, Sizes, Step, Term, build_terms

for _module in iter_modules(__path__):  # each method's file enters its term and its preset
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "PRESETS",
    "TERMS",
    "Objective",
    "Projector",
    "Sizes",
    "Step",
    "Term",
    "build_terms",
    "expand",
]
