"""DET curves: false rejects over false accepts, both on normal-deviate (probit) axes."""

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, ndtri

from .drawing import (
    MUTED,
    WIDTH,
    clean,
    floor,
    head,
    in_words,
    legend,
    line_style,
    mark_style,
    percent_tick,
    power_of_ten,
    thin,
)
from .results import BenchResult
from .words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

FMR_TICKS = (*(10.0**-power for power in range(9, 0, -1)), 0.5)
FNMR_TICKS = (1e-5, 1e-4, 1e-3, 0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)
MORE_TICKS = (0.002, 0.005, 0.02, 0.1, 0.3)
NARROW = 3.0
"""So few normal deviates high an axis has room for more ticks."""
RIGHT = 0.5


def size(bench: BenchResult) -> tuple[float, float]:
    """Inches; the legend has a line a model."""
    return WIDTH, 3.95 + 0.2 * len(bench.models)


def draw(figure: "FigureBase", bench: BenchResult) -> None:
    """FNMR over FMR (Martin et al., 1997); Gaussian scores would give straight lines.

    Both axes start at one wrong decision: nothing below that was measured. A ring marks the EER,
    where the curve meets the grey diagonal.
    """
    from matplotlib.lines import Line2D

    axes = figure.subplots()
    left, bottom = floor(bench.impostors), floor(bench.genuine)
    top, handles = bottom * 1.5, []
    for number, (_, numbers) in enumerate(bench.verified()):
        roc = numbers.roc
        start = int(np.searchsorted(roc.far, left, side="right")) - 1  # the last at or under it
        end = int(np.searchsorted(roc.far, RIGHT)) + 1  # the first at or over it
        fmr = np.clip(roc.far[start:end], left, RIGHT)
        fnmr = np.clip(1 - roc.tar[start:end], bottom, 1 - 1e-9)
        top = max(top, float(fnmr[0]))
        kept = thin(np.asarray(ndtri(fmr)))
        axes.plot(fmr[kept], fnmr[kept], **line_style(number), clip_on=False, zorder=3)
        eer = [numbers.eer]
        if bottom <= numbers.eer <= RIGHT:
            axes.plot(eer, eer, linestyle="none", **mark_style(number), zorder=4)
        handles.append(Line2D([], [], **line_style(number), **mark_style(number)))
    _scales(axes, left, bottom, min(float(ndtr(ndtri(top) + 0.15)), 0.999))
    ends = [max(left, bottom), RIGHT]
    axes.plot(ends, ends, color=MUTED, linewidth=0.8, linestyle=(0, (1, 2)), zorder=2)
    axes.set_xlabel("false match rate (FMR)")
    axes.set_ylabel("false non-match rate (FNMR)")
    clean(axes)
    head(axes, bench)
    legend(figure, handles, _labels(bench), "Equal error rate")


def words(bench: BenchResult) -> str:
    """The figure for those who do not see it."""
    return f"DET curves on {bench.name}; equal error rate: " + in_words(_labels(bench))


def _scales(axes: "Axes", left: float, bottom: float, top: float) -> None:
    axes.set_xscale("function", functions=(_probit, ndtr))
    axes.set_yscale("function", functions=(_probit, ndtr))
    axes.set_xlim(left, RIGHT)
    axes.set_ylim(bottom, top)
    axes.set_xticks([tick for tick in FMR_TICKS if left <= tick <= RIGHT])
    ticks = FNMR_TICKS + (MORE_TICKS if ndtri(top) - ndtri(bottom) < NARROW else ())
    axes.set_yticks([tick for tick in sorted(ticks) if bottom <= tick <= top])
    axes.xaxis.set_major_formatter(lambda v, _: f"{v:g}" if v > 0.1 else power_of_ten(v))
    axes.yaxis.set_major_formatter(percent_tick)


def _probit(rate: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> object:
    """The normal deviate of a rate, finite where the axis asks beyond (0, 1)."""
    return ndtri(np.clip(rate, 1e-15, 1 - 1e-15))


def _labels(bench: BenchResult) -> list[tuple[str, str]]:
    return [(model.name, f"{percent(numbers.eer)} %") for model, numbers in bench.verified()]
