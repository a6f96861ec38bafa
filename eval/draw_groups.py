"""Error rates group by group at one common threshold, with their intervals."""

import math
from typing import TYPE_CHECKING

from .drawing import (
    INK,
    WIDTH,
    clean,
    colour,
    fit,
    head,
    legend,
    mark_style,
    percent_tick,
    power_of_ten,
)
from .groups import GroupReport
from .intervals import Interval
from .results import BenchResult
from .words import far_name, fraction, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

GROUP_ROOM = 90.0
"""Points for a group's name."""


def size(bench: BenchResult) -> tuple[float, float]:
    """Inches; a row a group in each of the two panels."""
    reports = _reports(bench)
    rows = max(len(report.rates) for _, _, report in reports)
    row = 0.16 + 0.13 * len(reports)
    return WIDTH, 2.45 + 2 * row * rows + 0.2 * len(reports)


def draw(figure: "FigureBase", bench: BenchResult) -> None:
    """FMR (logarithmic, the dashed line is what was asked for) above, FNMR below.

    A dot is a rate, a bar its 95 % interval; a triangle at the edge says that no impostor pair of
    the group was accepted, and only the upper end of the interval is on the axis.
    """
    from matplotlib.lines import Line2D

    reports = _reports(bench)
    names = list(dict.fromkeys(rate.group for _, _, report in reports for rate in report.rates))
    upper, lower = figure.subplots(2)
    far = reports[0][2].target_far
    handles = []
    left, right = _decades([report for _, _, report in reports])
    for place, (number, _, report) in enumerate(reports):
        shift = (place - (len(reports) - 1) / 2) * 0.7 / len(reports)
        for rate in report.rates:
            row = names.index(rate.group) + shift
            _dot(upper, rate.fmr, rate.fmr_interval, row, number, left)
            _dot(lower, rate.fnmr, rate.fnmr_interval, row, number, 0.0)
        handles.append(Line2D([], [], color=colour(number), linewidth=1.4, **mark_style(number)))
    upper.axvline(far, color=INK, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
    upper.set_xscale("log")
    upper.set_xlim(left, right)
    upper.xaxis.set_major_formatter(power_of_ten)
    upper.xaxis.set_minor_formatter(lambda *_: "")
    upper.set_xlabel("false match rate (FMR)")
    lower.set_xlim(0, None)
    lower.xaxis.set_major_formatter(percent_tick)
    lower.set_xlabel("false non-match rate (FNMR)")
    for axes in (upper, lower):
        _rows(axes, names)
        clean(axes)
        axes.grid(visible=False, axis="y")
    head(upper, bench, f"one threshold a model, set for FAR {far_name(far)}")
    legend(figure, handles, _labels(bench), "Worst over best group")


def words(bench: BenchResult) -> str:
    """The figure for those who do not see it."""
    rates = (
        f"{name}, {rate.group}: FMR {fraction(rate.fmr)}, FNMR {percent(rate.fnmr)} %"
        for _, name, report in _reports(bench)
        for rate in report.rates
    )
    return f"Error rates by group on {bench.name} at one threshold. " + "; ".join(rates) + "."


def _reports(bench: BenchResult) -> list[tuple[int, str, GroupReport]]:
    """(number of the model, its name, its report), all at one FAR.

    It is the lowest at which every group has false matches, so that they can be compared; else the
    highest.
    """
    models = [(i, m.name, n.groups) for i, (m, n) in enumerate(bench.verified()) if n.groups]
    all_fars = [{report.target_far for report in groups} for _, _, groups in models]
    shared = set.intersection(*all_fars) or all_fars[0]
    seen = {
        far: all(r.fmr_ratio for _, _, g in models for r in g if r.target_far == far)
        for far in shared
    }
    far = min((far for far, known in seen.items() if known), default=max(shared))
    return [(i, name, r) for i, name, groups in models for r in groups if r.target_far == far]


def _decades(reports: list[GroupReport]) -> tuple[float, float]:
    """The powers of ten between which all rates and interval ends lie that are not zero."""
    rates = [rate for report in reports for rate in report.rates]
    seen = [rate.fmr for rate in rates if rate.fmr]
    seen += [end for rate in rates for end in rate.fmr_interval or () if end > 0]
    seen.append(reports[0].target_far)
    low, high = math.floor(math.log10(min(seen))), math.ceil(math.log10(max(seen)))
    return 10.0**low, 10.0 ** max(high, low + 1)


def _dot(
    axes: "Axes", rate: float | None, ends: "Interval | None", row: float, number: int, left: float
) -> None:
    if rate is None or ends is None:
        return
    axes.plot([max(ends[0], left), ends[1]], [row, row], color=colour(number), linewidth=1.4)
    style = mark_style(number)
    if rate < left:
        style["marker"] = "<"
    axes.plot([max(rate, left)], [row], linestyle="none", **style, clip_on=False, zorder=3)


def _rows(axes: "Axes", names: list[str]) -> None:
    labels = [fit(name, 9.5, GROUP_ROOM) for name in names]
    axes.set_yticks(range(len(names)), labels)
    axes.set_ylim(len(names) - 0.4, -0.6)


def _labels(bench: BenchResult) -> list[tuple[str, str]]:
    labels = []
    for _, name, report in _reports(bench):
        ratios = (("FMR", report.fmr_ratio), ("FNMR", report.fnmr_ratio))
        known = [f"{what} {ratio:.2f}" for what, ratio in ratios if ratio is not None]
        labels.append((name, ", ".join(known)))
    return labels
