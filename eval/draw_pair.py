"""Two crops side by side, and where their similarity lies among a report's scores."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..data_tools.images import Image
from .draw_histogram import BINS, draw_scores
from .drawing import INK, MUTED, WIDTH, clean, colour, fit, legend
from .verification import Verification

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

_CROPS, _SCORES, _AXIS = 2.4, 2.2, 1.4  # inches: the crops; the axis with scores on it, without
_ROOM = 0.47 * 72 * WIDTH  # points for a crop's name


@dataclass(frozen=True)
class DrawnPair:
    """What is drawn.

    Attributes:
        crops: Two, uint8 RGB.
        names: What is written below them.
        similarity: Their cosine.
        threshold: What it was held against.
        verdict: In words.
        numbers: The scores of the report that the threshold is from, if it is from one.
        bench: What these are of, in words.
    """

    crops: tuple[Image, Image]
    names: tuple[str, str]
    similarity: float
    threshold: float
    verdict: str
    numbers: Verification | None = None
    bench: str = ""


def size(pair: DrawnPair) -> tuple[float, float]:
    """Inches."""
    return WIDTH, _CROPS + _below(pair)


def draw(figure: "FigureBase", pair: DrawnPair) -> None:
    """The crops, and below them the similarity and the threshold on the axis of cosines."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    heights = [_CROPS, _below(pair)]
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights).ravel()
    for axes, crop, name in zip(above.subplots(1, 2), pair.crops, pair.names, strict=True):
        axes.imshow(crop, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(fit(name, 9, _ROOM), fontsize=9, color=MUTED, y=-0.14)
    above.suptitle(
        f"{pair.verdict.capitalize()}: similarity {pair.similarity:.3f}",
        fontsize=12,
        fontweight="bold",
    )
    axes = below.subplots()
    _scores(axes, pair)
    axes.axvline(pair.threshold, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
    axes.axvline(pair.similarity, color=colour(1), linewidth=2.2)
    clean(axes)
    axes.grid(visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_yticks([])
    axes.set_xlabel("similarity (cosine)")
    handles: list[Line2D | Patch] = [
        Line2D([], [], color=colour(1), linewidth=2.2),
        Line2D([], [], color=INK, linewidth=1.1, linestyle=(0, (4, 2))),
    ]
    labels = [("this pair", f"{pair.similarity:.3f}"), ("threshold", f"{pair.threshold:.3f}")]
    if pair.numbers is not None:
        handles += [
            Patch(facecolor=colour(0), edgecolor=colour(0), alpha=0.45),
            Patch(facecolor="none", edgecolor=MUTED, hatch="//////"),
        ]
        labels += [(f"{pair.bench}, genuine pairs", ""), (f"{pair.bench}, impostor pairs", "")]
    legend(below, handles, labels)


def _below(pair: DrawnPair) -> float:
    return _AXIS if pair.numbers is None else _SCORES


def _scores(axes: "Axes", pair: DrawnPair) -> None:
    """The axis, with the report's scores on it where there are some."""
    ends = [pair.similarity, pair.threshold]
    if pair.numbers is None:
        axes.set_xlim(min(-0.2, *ends) - 0.05, max(1.0, *ends) + 0.05)
        return
    ranked = pair.numbers.ranked
    for scores in (ranked.genuine, ranked.impostor):
        ends += [float(scores[0]), float(scores[-1])]
    draw_scores(axes, pair.numbers, np.histogram_bin_edges(np.array(ends), BINS), 0)
