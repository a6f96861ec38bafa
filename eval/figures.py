"""ROC curves: one panel a bench, all models in each, told apart by colour and line style."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..files import atomic_path
from .operating import OperatingPoint
from .results import BenchResult, Evaluation, ModelResult
from .tables import far_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers tell apart; a style each for black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", (0, (5, 1.5)), (0, (6, 1.5, 1.2, 1.5)), (0, (1.2, 1.2)), (0, (9, 2, 1, 2, 1, 2)))
LEGEND_FAR = 1e-3
PANELS_A_ROW = 3


def draw_roc(evaluation: Evaluation, paths: list[Path]) -> None:
    """Draw the ROC curves and write them to each path, in the format its suffix names.

    The FAR axis is logarithmic and starts at one false accept: nothing below it was measured.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    benches = evaluation.benches
    columns = min(len(benches), PANELS_A_ROW)
    rows = math.ceil(len(benches) / columns)
    height = 4.5 + 0.2 * len(benches[0].models)  # the legend stands below the panel
    figure = Figure(figsize=(5.6 * columns, height * rows), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel, bench in zip(panels, benches, strict=False):
        _draw_bench(panel, bench, evaluation.flip)
    for empty in panels[len(benches) :]:
        empty.set_visible(False)
    for path in paths:
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format=path.suffix[1:], dpi=200)


def _draw_bench(panel: "Axes", bench: BenchResult, flip: bool) -> None:
    floor = 1 / bench.impostors
    lowest = 1.0
    for number, model in enumerate(bench.models):
        roc = model.numbers.roc
        start = int(np.searchsorted(roc.far, floor, side="right")) - 1  # the last at or under it
        far, tar = np.maximum(roc.far[start:], floor), roc.tar[start:]
        lowest = min(lowest, float(tar[0]))
        colour = COLOURS[number % len(COLOURS)]
        panel.plot(
            far,
            tar,
            color=colour,
            linestyle=STYLES[number % len(STYLES)],
            linewidth=1.8,
            label=_label(model),
            clip_on=False,
            zorder=3,
        )
        _mark(panel, model, colour)
    panel.set_xscale("log")
    panel.set_xlim(floor, 1)
    panel.set_ylim(_axis_start(lowest), 1)
    panel.set_xlabel("false accept rate (FAR)")
    panel.set_ylabel("true accept rate (TAR)")
    panel.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    panel.grid(which="major", color="#d9d9d9", linewidth=0.7)
    panel.grid(which="minor", axis="x", color="#efefef", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    flipped = "flip sum" if flip else "no flip"
    panel.set_title(bench.name, loc="left", fontweight="bold", pad=20)
    panel.annotate(
        f"{bench.genuine:,} genuine, {bench.impostors:,} impostor pairs; {flipped}",
        (0, 1),
        xytext=(0, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8.5,
        color="#555555",
    )
    panel.legend(
        loc="upper center",
        bbox_to_anchor=(0.5, -0.13),
        frameon=False,
        fontsize=9,
        handlelength=3.2,
    )


def _mark(panel: "Axes", model: ModelResult, colour: str) -> None:
    """A ring where the legend's TAR is read off."""
    point = _legend_point(model)
    if point is not None and point.tar is not None:
        panel.plot(
            point.target_far,
            point.tar,
            marker="o",
            markersize=5,
            markerfacecolor="white",
            markeredgecolor=colour,
            markeredgewidth=1.4,
            zorder=4,
        )


def _legend_point(model: ModelResult) -> OperatingPoint | None:
    for point in model.numbers.points:
        if point.target_far == LEGEND_FAR and point.tar is not None:
            return point
    return None


def _label(model: ModelResult) -> str:
    point = _legend_point(model)
    if point is None or point.tar is None:
        return f"{model.name}: AUC {100 * model.numbers.auc:.2f} %"
    return f"{model.name}: TAR {100 * point.tar:.2f} % at FAR {far_name(LEGEND_FAR)}"


def _axis_start(lowest: float) -> float:
    """A round TAR below the lowest that is drawn, so that near-perfect curves fill the panel."""
    room = max(1 - lowest, 1e-3) * 1.1
    step: float = 10.0 ** math.floor(math.log10(room))
    return max(0.0, 1.0 - math.ceil(room / step) * step)
