"""The figures of a study, as files."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.eval import draw_means, draw_roc_best
from facekd.eval.draw_means import Mean
from facekd.eval.figures import write_figure
from facekd.eval.results import BenchResult
from facekd.study.methods import MethodRows

if TYPE_CHECKING:
    from matplotlib.figure import FigureBase


def draw_study(
    methods: Sequence[MethodRows],
    baseline: str,
    bench: str,
    curves: BenchResult | None,
    target: Path,
) -> list[tuple[list[Path], str]]:
    """Bars with intervals, accuracy against time, and the ROC curves where there are scores.

    Args:
        methods: The methods with rows.
        baseline: The one they are compared with.
        bench: The verification set that is drawn.
        curves: One network of each method, or None.
        target: Where: `<target>-bars.png` and so on.

    Returns:
        The files of each figure, and the figure in words.
    """
    means = [mean for method in methods if (mean := _mean(method, bench)) is not None]

    def bars(figure: "FigureBase") -> None:
        draw_means.draw_bars(figure, means, baseline, bench)

    def time(figure: "FigureBase") -> None:
        draw_means.draw_time(figure, means, baseline, bench)

    written = []
    if means:
        words = draw_means.words(means)
        written.append((_write(target, "bars", draw_means.bars_size(means), bars), words))
        written.append((_write(target, "time", draw_means.time_size(means), time), words))
    if curves is not None:
        one = curves

        def roc(figure: "FigureBase") -> None:
            draw_roc_best.draw(figure, one, baseline)

        files = _write(target, "roc", draw_roc_best.size(one), roc)
        written.append((files, draw_roc_best.words(one, baseline)))
    return written


def _mean(method: MethodRows, bench: str) -> Mean | None:
    accuracy, minutes = method.spread(f"{bench}_accuracy"), method.spread("minutes")
    if accuracy is None or minutes is None:
        return None
    return Mean(method.name, accuracy.values, method.interval(bench), minutes.values)


def _write(
    target: Path, name: str, size: tuple[float, float], draw: Callable[["FigureBase"], None]
) -> list[Path]:
    return write_figure(size, draw, target.with_name(f"{target.name}-{name}"), ("png", "svg"))
