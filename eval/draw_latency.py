"""Networks side by side: accuracy against the time that one image takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .drawing import (
    MUTED,
    WIDTH,
    clean,
    colour,
    fit,
    legend,
    mark_style,
    percent_tick,
)
from .intervals import Interval
from .words import percent

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase

_DECADE = 6  # times as slow as the fastest: from there on the axis is logarithmic


@dataclass(frozen=True)
class Timed:
    """One network.

    Attributes:
        name: What it is called.
        latency: Median milliseconds for one image.
        accuracy: Over folds.
        interval: 95 % interval of the accuracy.
    """

    name: str
    latency: float
    accuracy: float
    interval: Interval


def pareto(networks: Sequence[Timed]) -> list[Timed]:
    """Those that no other beats: none is as fast and more accurate, or as accurate and faster.

    Returns:
        Rising in latency and in accuracy; of equals the first.
    """
    best: list[Timed] = []
    for one in sorted(networks, key=lambda network: (network.latency, -network.accuracy)):
        if not best or one.accuracy > best[-1].accuracy:
            best.append(one)
    return best


def size(networks: Sequence[Timed]) -> tuple[float, float]:
    """Inches; the legend has a line a network."""
    return WIDTH + 0.4, 3.3 + 0.19 * (len(networks) + 1)


def draw(figure: "FigureBase", networks: Sequence[Timed], title: str, condition: str) -> None:
    """A mark a network with its interval over pairs; the line joins those that no other beats.

    The axis of accuracy does not start at zero.

    Args:
        figure: An empty one.
        networks: One or more.
        title: What the accuracy is of.
        condition: How the time was measured, in words.
    """
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    axes = figure.subplots()
    best = pareto(networks)
    line: dict[str, Any] = {"color": MUTED, "linewidth": 1.3, "linestyle": (0, (4, 2))}
    handles = []
    for number, one in enumerate(networks):
        axes.plot([one.latency] * 2, one.interval, color=colour(number), linewidth=1.2)
        mark = {**mark_style(number), "linestyle": "none"}
        handles += axes.plot([one.latency], [one.accuracy], **mark, zorder=3)
    times = [one.latency for one in networks]
    if max(times) > _DECADE * min(times):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.08, y=0.08)
    left, right = axes.get_xlim()
    xs = [one.latency for one in best]
    ys = [one.accuracy for one in best]
    axes.step([*xs, right], [*ys, ys[-1]], where="post", zorder=2, **line)
    axes.set_xlim(left, right)
    clean(axes)
    axes.yaxis.set_major_formatter(percent_tick)
    axes.set_xlabel(f"milliseconds an image ({condition})")
    axes.set_ylabel("accuracy")
    axes.set_title(fit(title, 11, 72 * WIDTH, "bold"), loc="left", fontsize=11, fontweight="bold")
    labels = [(one.name, _words(one)) for one in networks]
    handles.append(Line2D([], [], **line))
    labels.append(("no network is both faster and more accurate", ""))
    legend(figure, handles, labels)


def words(networks: Sequence[Timed]) -> str:
    """The figure for those who do not see it."""
    told = "; ".join(f"{one.name}: {_words(one)}" for one in networks)
    return f"Accuracy and time: {told}. Not beaten: {', '.join(n.name for n in pareto(networks))}."


def _words(one: Timed) -> str:
    return f"{percent(one.accuracy)} % in {one.latency:.3g} ms"
