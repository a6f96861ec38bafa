"""Which class is taken for which, as a picture."""

from typing import TYPE_CHECKING

import numpy as np

from .classification import Classification
from .drawing import INK, MUTED, PAPER, WIDTH, fit
from .words import percent, percent_interval

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

_NAMED = 40  # classes beyond which no names stand at the sides
_WRITTEN = 15  # classes beyond which no numbers stand in the squares
_SQUARE = 0.34  # inches
_NAME_ROOM = 90.0  # points


def size(numbers: Classification) -> tuple[float, float]:
    """Inches, width and height."""
    count = len(numbers.names)
    side = max(WIDTH, _SQUARE * count) if count <= _NAMED else 1.6 * WIDTH
    return side + 1.6, side + 1.2


def draw(figure: "FigureBase", numbers: Classification, title: str) -> None:
    """Rows are true classes, columns what they are taken for, each row's share from 0 to 100 %."""
    axes = figure.subplots()
    count = len(numbers.names)
    images = numbers.confusion.sum(axis=1, keepdims=True)
    share = numbers.confusion / np.maximum(images, 1)
    picture = axes.imshow(100 * share, cmap="cividis_r", vmin=0, vmax=100, interpolation="nearest")
    bar = figure.colorbar(picture, ax=axes, shrink=0.8)
    bar.set_label("% of the true class", fontsize=9.5)
    bar.ax.tick_params(labelsize=9)
    places = range(count)
    if count <= _NAMED:
        names = [fit(name, 8.5, _NAME_ROOM) for name in numbers.names]
        axes.set_xticks(places, names, rotation=90, fontsize=8.5)
        axes.set_yticks(places, names, fontsize=8.5)
    if count <= _WRITTEN:
        for i in places:
            for j in places:
                if numbers.confusion[i, j]:
                    ink = PAPER if share[i, j] > 0.5 else INK
                    text = f"{100 * share[i, j]:.0f}"
                    axes.text(j, i, text, ha="center", va="center", fontsize=8, color=ink)
    axes.tick_params(length=0)
    axes.set_xlabel("taken for", fontsize=10)
    axes.set_ylabel("true class", fontsize=10)
    top1 = numbers.top1
    axes.set_title(fit(title, 11, 72 * WIDTH, "bold"), loc="left", fontsize=11, fontweight="bold")
    told = f"top-1 {percent(top1.value)} % {percent_interval(top1.interval)}, {top1.images} images"
    axes.annotate(
        told, (1, 1), xytext=(0, 4), xycoords="axes fraction", textcoords="offset points",
        ha="right", fontsize=8.5, color=MUTED,
    )  # fmt: skip
