"""ROC curves: all models of a bench, told apart by colour, line style and marker."""

import math
from typing import TYPE_CHECKING

import numpy as np

from .drawing import (
    FAINT,
    WIDTH,
    clean,
    floor,
    head,
    headline,
    in_words,
    legend,
    line_style,
    mark_style,
    percent_tick,
    point_at,
    power_of_ten,
    thin,
)
from .results import BenchResult
from .words import far_name, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase


def size(bench: BenchResult) -> tuple[float, float]:
    """Inches; the legend has a line a model."""
    return WIDTH, 3.95 + 0.2 * len(bench.models)


def draw(figure: "FigureBase", bench: BenchResult) -> None:
    """As `draw_curves`."""
    draw_curves(figure, bench)


def draw_curves(figure: "FigureBase", bench: BenchResult) -> "Axes":
    """TAR over FAR; the FAR axis is logarithmic and starts at one false accept.

    Nothing below that was measured. A ring marks where the legend's TAR is read off.

    Returns:
        The panel, for who draws more into it.
    """
    from matplotlib.lines import Line2D

    axes = figure.subplots()
    left, far = floor(bench.impostors), headline(bench)
    lowest, handles = 1.0, []
    for number, (_, numbers) in enumerate(bench.verified()):
        roc = numbers.roc
        start = int(np.searchsorted(roc.far, left, side="right")) - 1  # the last at or under it
        fars, tars = np.maximum(roc.far[start:], left), roc.tar[start:]
        lowest = min(lowest, float(tars[0]))
        kept = thin(np.log(fars))
        axes.plot(fars[kept], tars[kept], **line_style(number), clip_on=False, zorder=3)
        point = point_at(numbers, far)
        if point is not None and point.tar is not None and point.far is not None:
            style = {"linestyle": "none", **mark_style(number)}
            at = point.target_far if point.rule == "strict" else max(point.far, left)
            axes.plot([at], [point.tar], **style, clip_on=False, zorder=4)
        mark = mark_style(number) if point is not None else {}
        handles.append(Line2D([], [], **line_style(number), **mark))
    axes.set_xscale("log")
    axes.set_xlim(left, 1)
    axes.set_ylim(axis_start(lowest), 1)
    axes.xaxis.set_major_formatter(power_of_ten)
    axes.xaxis.set_minor_formatter(lambda *_: "")
    axes.yaxis.set_major_formatter(percent_tick)
    axes.set_xlabel("false accept rate (FAR)")
    axes.set_ylabel("true accept rate (TAR)")
    axes.grid(which="minor", axis="x", color=FAINT, linewidth=0.5)
    clean(axes)
    head(axes, bench)
    legend(figure, handles, _labels(bench), _number(bench))
    return axes


def words(bench: BenchResult) -> str:
    """The figure for those who do not see it."""
    return f"ROC curves on {bench.name}; {_number(bench)}: " + in_words(_labels(bench))


def _number(bench: BenchResult) -> str:
    """What the legend tells of each model."""
    far = headline(bench)
    return "AUC" if far is None else f"TAR at FAR {far_name(far)}"


def _labels(bench: BenchResult) -> list[tuple[str, str]]:
    far = headline(bench)
    points = ((model, n.auc, point_at(n, far)) for model, n in bench.verified())
    return [
        (model.name, f"{percent(auc if point is None else point.tar)} %")
        for model, auc, point in points
    ]


def axis_start(lowest: float) -> float:
    """A round TAR below the lowest that is drawn, so that near-perfect curves fill the panel."""
    room = max(1 - lowest, 1e-3) * 1.1
    step: float = 10.0 ** math.floor(math.log10(room))
    return max(0.0, 1.0 - math.ceil(room / step) * step)
