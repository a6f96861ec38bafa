"""Error against reject: what is left of FNMR when the faces of lowest quality are turned away."""

from typing import TYPE_CHECKING

from .drawing import (
    MARKERS,
    WIDTH,
    clean,
    head,
    in_words,
    legend,
    line_style,
    mark_style,
    percent_tick,
)
from .quality import RejectCurve
from .results import BenchResult
from .words import far_name, percent

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

MARK_EVERY = 0.15


def size(bench: BenchResult) -> tuple[float, float]:
    """Inches; the legend has a line a model."""
    return WIDTH, 3.55 + 0.2 * len(_curves(bench))


def draw(figure: "FigureBase", bench: BenchResult) -> None:
    """FNMR of the genuine pairs that are left over the share rejected, the threshold held."""
    from matplotlib.lines import Line2D

    axes = figure.subplots()
    handles = []
    for number, _, curve in _curves(bench):
        style = {**line_style(number), **mark_style(number)}
        every = (0.02 * (number % len(MARKERS)), MARK_EVERY)
        axes.plot(curve.rejected, curve.fnmr, **style, markevery=every, clip_on=False, zorder=3)
        handles.append(Line2D([], [], **style))
    axes.set_xlim(0, 1)
    axes.set_ylim(0)
    axes.xaxis.set_major_formatter(percent_tick)
    axes.yaxis.set_major_formatter(percent_tick)
    axes.set_xlabel("genuine pairs rejected for their quality")
    axes.set_ylabel("FNMR of the pairs left")
    clean(axes)
    head(axes, bench)
    legend(figure, handles, _labels(bench), _number(bench))


def words(bench: BenchResult) -> str:
    """The figure for those who do not see it."""
    return f"Error-versus-reject curves on {bench.name}; {_number(bench)}: " + in_words(
        _labels(bench)
    )


def _curves(bench: BenchResult) -> list[tuple[int, str, RejectCurve]]:
    """(number of the model, its name, its curve) where it has one."""
    return [
        (number, model.name, numbers.quality)
        for number, (model, numbers) in enumerate(bench.verified())
        if numbers.quality is not None
    ]


def _number(bench: BenchResult) -> str:
    """What the legend tells of each model."""
    fars = sorted({curve.target_far for _, _, curve in _curves(bench)})
    return f"FNMR with all, threshold at FAR {' or '.join(map(far_name, fars))}"


def _labels(bench: BenchResult) -> list[tuple[str, str]]:
    return [(name, f"{percent(float(curve.fnmr[0]))} %") for _, name, curve in _curves(bench)]
