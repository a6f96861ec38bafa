"""Losses: weighted sums of terms, and the presets that name known ones.

Called, `facekd.distill(teacher, data, ...)`, it trains: see `facekd.train.from_python.distill`.
"""

import sys
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

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


class _Callable(ModuleType):
    """This package, for which `facekd.distill(...)` is the call of a function floors above.

    An attribute `facekd.distill` that is no module would be overwritten as soon as anybody imports
    this package: Python sets it.
    """

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Train a student under a teacher; see `facekd.train.from_python.distill`."""
        return import_module("facekd.train.from_python").distill(*arguments, **settings)


sys.modules[__name__].__class__ = _Callable
