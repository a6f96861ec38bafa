"""Methods of a study side by side: accuracy of each as a bar, and against training time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .drawing import GRID, INK, MUTED, WIDTH, clean, colour, fit, mark_style, percent_tick
from .intervals import Interval
from .words import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

NAME_ROOM = 120.0
"""Points for a method's name."""
_ROW = 0.24
_LABEL = 12.0  # points between two names of the second figure


@dataclass(frozen=True)
class Mean:
    """One method.

    Attributes:
        name: What it is called.
        values: Accuracy of each seed's network.
        interval: 95 % interval of the accuracy, over pairs.
        minutes: Training time of each seed's network.
    """

    name: str
    values: tuple[float, ...]
    interval: Interval
    minutes: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return sum(self.values) / len(self.values)

    @property
    def time(self) -> float:
        """Mean minutes."""
        return sum(self.minutes) / len(self.minutes)


def bars_size(means: Sequence[Mean]) -> tuple[float, float]:
    """Inches; a row a method."""
    return WIDTH + 0.6, 1.2 + _ROW * len(means)


def draw_bars(figure: "FigureBase", means: Sequence[Mean], baseline: str, title: str) -> None:
    """A bar is the mean over seeds, a dot a seed, the line the 95 % interval over pairs.

    The axis does not start at zero; the dashed line is the baseline's mean.
    """
    axes = figure.subplots()
    ranked = sorted(means, key=lambda method: method.mean)
    low = min(min(m.interval[0], *m.values) for m in ranked)
    high = max(max(m.interval[1], *m.values) for m in ranked)
    left = max(0.0, low - 0.1 * (high - low))
    for row, method in enumerate(ranked):
        shade = MUTED if method.name == baseline else colour(0)
        axes.barh(row, method.mean - left, left=left, height=0.62, color=shade, alpha=0.35)
        axes.plot(method.interval, [row, row], color=shade, linewidth=1.6)
        style = {**mark_style(0), "markeredgecolor": shade, "markersize": 4}
        axes.plot(method.values, [row] * len(method.values), linestyle="none", **style)
    for method in ranked:
        if method.name == baseline:
            axes.axvline(method.mean, color=INK, linewidth=0.9, linestyle=(0, (4, 2)))
    axes.set_yticks(range(len(ranked)), [fit(m.name, 9.5, NAME_ROOM) for m in ranked])
    axes.set_ylim(-0.6, len(ranked) - 0.4)
    axes.set_xlim(left, min(1.0, high + 0.05 * (high - low)))
    _finish(axes, title)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(percent_tick)
    axes.set_xlabel("accuracy")


def time_size(means: Sequence[Mean]) -> tuple[float, float]:
    """Inches; names stand in a column."""
    return WIDTH + 1.9, max(3.2, 1.0 + _LABEL / 72 * len(means))


def draw_time(figure: "FigureBase", means: Sequence[Mean], baseline: str, title: str) -> None:
    """Mean accuracy over mean training minutes; lines go from the lowest to the highest seed.

    Neither axis starts at zero.
    """
    axes = figure.subplots()
    for method in means:
        shade = MUTED if method.name == baseline else colour(0)
        accuracy, minutes = method.mean, method.time
        axes.plot([minutes] * 2, [min(method.values), max(method.values)], color=shade, lw=1)
        axes.plot([min(method.minutes), max(method.minutes)], [accuracy] * 2, color=shade, lw=1)
        style = {**mark_style(0), "markeredgecolor": shade}
        axes.plot([minutes], [accuracy], linestyle="none", **style, zorder=3)
    axes.margins(x=0.08, y=0.08)
    _finish(axes, title)
    axes.yaxis.set_major_formatter(percent_tick)
    axes.set_xlabel("training minutes")
    axes.set_ylabel("accuracy")
    _names(axes, figure, means)


def words(means: Sequence[Mean]) -> str:
    """Both figures for those who do not see them."""
    told = (
        f"{m.name}: {percent(m.mean)} % in {m.time:.1f} min"
        for m in sorted(means, key=lambda method: -method.mean)
    )
    return "Mean accuracy and training time: " + "; ".join(told) + "."


def _names(axes: "Axes", figure: "FigureBase", means: Sequence[Mean]) -> None:
    """A column of names at the right, in the order of the dots, each with a line to its own."""
    ranked = sorted(means, key=lambda method: method.mean)
    bottom, top = axes.get_ylim()
    height = 72 * (time_size(means)[1] - 1.0)
    step = min(_LABEL / height, 1 / max(len(ranked) - 1, 1))
    places: list[float] = []
    for method in ranked:
        wanted = (method.mean - bottom) / (top - bottom)
        places.append(max(wanted, places[-1] + step) if places else wanted)
    places = [min(p, 1 - step * (len(places) - 1 - i)) for i, p in enumerate(places)]
    for method, place in zip(ranked, places, strict=True):
        axes.annotate(
            fit(f"{method.name} {percent(method.mean)}", 8.5, NAME_ROOM),
            xy=(method.time, method.mean),
            xytext=(1.03, place),
            textcoords="axes fraction",
            fontsize=8.5,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": GRID,
                "linewidth": 0.8,
                "shrinkA": 0,
                "shrinkB": 4,
                "relpos": (0, 0.5),
            },
        )


def _finish(axes: "Axes", title: str) -> None:
    clean(axes)
    axes.set_title(fit(title, 11, 72 * WIDTH, "bold"), loc="left", fontsize=11, fontweight="bold")
