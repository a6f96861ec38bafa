"""Losses: weighted sums of terms, and the presets that name known ones."""

from facekd.distill import kd, l2e, margin  # each enters its term in TERMS
from facekd.distill.objective import Objective, Projector
from facekd.distill.presets import PRESETS, expand
from facekd.distill.term import TERMS, Step, Term, build_terms

__all__ = [
    "PRESETS",
    "TERMS",
    "Objective",
    "Projector",
    "Step",
    "Term",
    "build_terms",
    "expand",
    "kd",
    "l2e",
    "margin",
]
