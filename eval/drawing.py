"""What all figures share: colours, line styles, legends and how a long curve is kept small."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .operating import OperatingPoint
from .results import BenchResult
from .scores import Array
from .verification import Verification
from .words import shorten

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

# Okabe and Ito's colours, which colour-blind readers tell apart; a line style and a marker each
# for black and white. 7 colours and 5 styles: 35 models before a pair of them comes again.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#E69F00", "#56B4E9")
STYLES = ("-", (0, (5, 1.5)), (0, (6, 1.5, 1.2, 1.5)), (0, (1.2, 1.2)), (0, (9, 2, 1, 2, 1, 2)))
MARKERS = "osD^vPX"
INK, MUTED, GRID, FAINT, PAPER = "#000000", "#555555", "#d9d9d9", "#efefef", "#ffffff"

WIDTH = 4.1
"""Inches of one panel: at a phone's width its letters are still read."""
HEADLINE_FAR = 1e-4
COLUMNS = 1200
MOST_LETTERS = 60
LEGEND_SIZE = 9.5
LEGEND_ROOM = 72 * WIDTH - 50
"""Points that a legend leaves for its words."""
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def line_style(number: int) -> dict[str, Any]:
    """Colour, dashes and width of the line of model `number`."""
    style = STYLES[number % len(STYLES)]
    return {"color": colour(number), "linestyle": style, "linewidth": 1.7}


def mark_style(number: int) -> dict[str, Any]:
    """The same model's marker: hollow, so that what it stands on shows."""
    return {
        "marker": MARKERS[number % len(MARKERS)],
        "markersize": 5.5,
        "markerfacecolor": PAPER,
        "markeredgecolor": colour(number),
        "markeredgewidth": 1.4,
    }


def colour(number: int) -> str:
    """The colour of model `number`."""
    return COLOURS[number % len(COLOURS)]


def headline(bench: BenchResult) -> float | None:
    """The FAR that figures speak of: the lowest from 1e-4 up at which all models have a number."""
    models = [numbers for _, numbers in bench.verified()]
    fars = [
        point.target_far
        for point in models[0].points
        if point.target_far >= HEADLINE_FAR
        and all(point_at(n, point.target_far) is not None for n in models)
    ]
    return min(fars, default=None)


def point_at(numbers: Verification, far: float | None) -> OperatingPoint | None:
    """The operating point of that target FAR, where there are enough impostors for it."""
    found = (p for p in numbers.points if p.target_far == far and p.allowed > 0)
    return next(found, None)


def floor(count: int) -> float:
    """Where the axis of a rate over so many pairs starts: at one of them, but at most at 0.1."""
    return min(1 / count, 0.1)


def thin(place: Array) -> NDArray[np.int64]:
    """Which points of a rising or falling curve to draw, so that nothing changes to the eye.

    The first and the last point of each of `COLUMNS` columns are kept; between them the curve
    stays inside the column.

    Args:
        place: float (k,), each point's place along the axis, in drawn units, monotone.

    Returns:
        int64 (at most 2 * COLUMNS,), rising.
    """
    width = max(float(np.ptp(place)), 1e-12) / COLUMNS
    column = np.floor((place - place[0]) / width)
    change = np.flatnonzero(np.diff(column))
    return np.unique(np.concatenate([[0], change, change + 1, [len(place) - 1]]))


def power_of_ten(value: float, _: object = None) -> str:
    """0.001 -> 10⁻³, as an axis writes it."""
    exponent = round(np.log10(value))
    return "1" if exponent == 0 else "10" + str(exponent).translate(_SUPERSCRIPT)


def percent_tick(value: float, _: object = None) -> str:
    """0.985 -> 98.5 %."""
    return f"{100 * value:.6g} %"


def literal(text: str) -> str:
    """The text with its dollar signs as such: between two of them matplotlib would see maths."""
    return text.replace("$", r"\$")


def head(axes: "Axes", bench: BenchResult, second: str = "") -> None:
    """The bench's name over a panel, and a line on what it stands on."""
    words = second or f"{bench.genuine:,} genuine, {bench.impostors:,} impostor pairs"
    axes.set_title(" ", loc="left", pad=20)
    axes.annotate(
        fit(bench.name, 12, 0.78 * 72 * WIDTH, "bold"),
        (0, 1),
        xytext=(0, 21),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=12,
        fontweight="bold",
    )
    axes.annotate(
        words,
        (0, 1),
        xytext=(0, 7),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9,
        color=MUTED,
    )


def clean(axes: "Axes") -> None:
    """A quiet grid behind the data, no box around it."""
    axes.grid(which="major", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9.5)
    axes.xaxis.label.set_fontsize(10)
    axes.yaxis.label.set_fontsize(10)


def fit(text: str, size: float, room: float, weight: str = "normal") -> str:
    """The text, or as much of its two ends as fits into so many points, dollar signs as such."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=size, weight=weight)
    letters = min(len(text), MOST_LETTERS)
    while letters > 3:
        width, _, _ = text_to_path.get_text_width_height_descent(
            shorten(text, letters), font, ismath=False
        )
        if width <= room:
            break
        letters -= 1
    return literal(shorten(text, letters))


def legend(
    figure: "FigureBase",
    handles: Iterable["Artist"],
    labels: Sequence[tuple[str, str]],
    title: str = "",
) -> None:
    """A legend under the panel.

    Args:
        figure: Where.
        handles: One a model.
        labels: (name, what it has) of each; long names lose their middle. A name that starts with
            _, which matplotlib hides, is shown.
        title: What it is that they have.
    """
    handles = list(handles)
    made = figure.legend(
        handles,
        [str(number) for number in range(len(handles))],
        loc="outside lower center",
        title=title or None,
        title_fontproperties={"size": LEGEND_SIZE, "weight": "bold"},
        alignment="left",
        frameon=False,
        fontsize=LEGEND_SIZE,
        handlelength=3.2,
        labelspacing=0.35,
        borderaxespad=0.2,
    )
    for text, (name, has) in zip(made.get_texts(), labels, strict=True):
        rest = f": {has}" if has else ""
        text.set_text(fit(name, LEGEND_SIZE, LEGEND_ROOM - 5.5 * len(rest)) + rest)


def in_words(labels: Sequence[tuple[str, str]]) -> str:
    """The legend as a sentence's end."""
    return ", ".join(f"{name}: {has}" if has else name for name, has in labels) + "."
