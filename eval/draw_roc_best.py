"""ROC curves of many models: the best stand out, the others show where they lie."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from . import draw_roc
from .drawing import COLOURS, GRID, floor, headline, point_at, thin
from .results import BenchResult

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

BEST = len(COLOURS)


def choose(bench: BenchResult, keep: str = "") -> tuple[BenchResult, BenchResult | None]:
    """The best models by the number in the legend, and one to be kept; and all the others.

    Args:
        bench: All models.
        keep: Name of one that is among the best in any case.
    """
    if len(bench.models) <= BEST:
        return bench, None
    far = headline(bench)
    value = {}
    for model, numbers in bench.verified():
        point = point_at(numbers, far)
        value[model.name] = numbers.auc if point is None else point.tar or 0.0
    ranked = sorted(value, key=lambda name: (name != keep, -value[name]))
    best = set(ranked[:BEST])
    shown = tuple(model for model in bench.models if model.name in best)
    rest = tuple(model for model in bench.models if model.name not in best)
    return replace(bench, models=shown), replace(bench, models=rest)


def size(bench: BenchResult) -> tuple[float, float]:
    """Inches; the legend has a line for each of the best."""
    return draw_roc.size(choose(bench)[0])


def draw(figure: "FigureBase", bench: BenchResult, keep: str = "") -> None:
    """As `draw_roc.draw`, and the curves of the others in grey behind them."""
    best, rest = choose(bench, keep)
    axes = draw_roc.draw_curves(figure, best)
    if rest is None:
        return
    left, lowest = floor(bench.impostors), 1.0
    for _, numbers in rest.verified():
        roc = numbers.roc
        start = int(np.searchsorted(roc.far, left, side="right")) - 1
        fars, tars = np.maximum(roc.far[start:], left), roc.tar[start:]
        lowest = min(lowest, float(tars[0]))
        kept = thin(np.log(fars))
        axes.plot(fars[kept], tars[kept], color=GRID, linewidth=1.2, zorder=2)
    axes.set_ylim(min(axes.get_ylim()[0], draw_roc.axis_start(lowest)), 1)


def words(bench: BenchResult, keep: str = "") -> str:
    """The figure for those who do not see it."""
    return draw_roc.words(choose(bench, keep)[0])
