"""Score histograms: how far genuine and impostor pairs of each model lie apart."""

from typing import TYPE_CHECKING

import numpy as np

from .drawing import (
    INK,
    MUTED,
    WIDTH,
    clean,
    colour,
    fit,
    head,
    headline,
    legend,
    point_at,
)
from .results import BenchResult
from .words import far_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from .verification import Verification

BINS = 80
ROOM = 1.25
"""How much higher a panel is than its highest bar: the model's name stands there."""


def size(bench: BenchResult) -> tuple[float, float]:
    """Inches; a panel a model."""
    return WIDTH, 1.5 + 1.15 * len(bench.models)


def draw(figure: "FigureBase", bench: BenchResult) -> None:
    """The density of scores, a panel a model; genuine and impostor areas are 1 each.

    The dashed line is the model's threshold at the FAR that the legend names.
    """
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    models = list(bench.verified())
    panels = figure.subplots(len(models), sharex=True, squeeze=False).ravel()
    lowest = min(min(n.ranked.genuine[0], n.ranked.impostor[0]) for _, n in models)
    highest = max(max(n.ranked.genuine[-1], n.ranked.impostor[-1]) for _, n in models)
    edges = np.histogram_bin_edges(np.array([lowest, highest]), BINS)
    far = headline(bench)
    for number, (axes, (model, numbers)) in enumerate(zip(panels, models, strict=True)):
        draw_scores(axes, numbers, edges, number)
        point = point_at(numbers, far)
        if point is not None and point.threshold is not None:
            axes.axvline(point.threshold, color=INK, linewidth=1.1, linestyle=(0, (4, 2)))
        name = fit(model.name, 10, 0.8 * 72 * WIDTH)
        axes.text(0.0, 0.97, name, transform=axes.transAxes, va="top", fontsize=10)
    panels[-1].set_xlabel("score (cosine)")
    panels[-1].locator_params(axis="x", nbins=8)
    for axes in panels:
        clean(axes)
        axes.grid(visible=False)
        axes.spines["left"].set_visible(False)
        axes.tick_params(bottom=axes is panels[-1])
    head(panels[0], bench)
    handles: list[Patch | Line2D] = [
        Patch(facecolor=MUTED, edgecolor=INK, alpha=0.6),
        Patch(facecolor="none", edgecolor=MUTED, hatch="//////"),
    ]
    labels = [("genuine pairs", ""), ("impostor pairs", "")]
    if far is not None:
        handles.append(Line2D([], [], color=INK, linewidth=1.1, linestyle=(0, (4, 2))))
        labels.append((f"threshold at FAR {far_name(far)}", ""))
    legend(figure, handles, labels)


def words(bench: BenchResult) -> str:
    """The figure for those who do not see it."""
    medians = (
        f"{model.name}: median genuine score {np.median(numbers.ranked.genuine):.2f}, highest "
        f"impostor score {numbers.ranked.impostor[-1]:.2f}"
        for model, numbers in bench.verified()
    )
    return f"Score histograms on {bench.name}. " + "; ".join(medians) + "."


def draw_scores(
    axes: "Axes",
    numbers: "Verification",
    edges: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    number: int,
) -> None:
    """The two densities of one model, in its colour."""
    ranked = numbers.ranked
    impostor, _ = np.histogram(ranked.impostor, edges, weights=ranked.impostor_counts)
    genuine, _ = np.histogram(ranked.genuine, edges)
    width = edges[1] - edges[0]
    axes.stairs(
        impostor / (impostor.sum() * width),
        edges,
        fill=True,
        facecolor="none",
        edgecolor=MUTED,
        hatch="//////",
        linewidth=0.9,
    )
    density = genuine / (genuine.sum() * width)
    axes.stairs(density, edges, fill=True, facecolor=colour(number), alpha=0.45)
    axes.stairs(density, edges, color=colour(number), linewidth=1.4)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, ROOM * max(float(density.max()), axes.dataLim.y1))
    axes.set_yticks([])
