"""Which tables an evaluation gives; rates in percent, false accept rates as fractions."""

from .bootstrap import SubjectBootstrap
from .compare import PairedDifference
from .operating import OperatingPoint
from .results import BenchResult, Evaluation, ModelResult
from .search_tables import search_intervals, search_summary
from .table import Table
from .verification import Verification
from .words import NONE, far_name, fraction, fraction_interval, percent, percent_interval

Row = tuple[str, ...]


def tables(evaluation: Evaluation) -> list[Table]:
    """All that have rows: the summaries, then the details."""
    return summaries(evaluation) + details(evaluation)


def summaries(evaluation: Evaluation) -> list[Table]:
    """A row a bench and model (and gallery)."""
    return _filled(_summary(evaluation), search_summary(evaluation))


def details(evaluation: Evaluation) -> list[Table]:
    """Each number with its interval, and what else was asked for."""
    return _filled(
        _operating_points(evaluation),
        search_intervals(evaluation),
        _bootstrap(evaluation),
        differences(evaluation),
        _transferred(evaluation),
        _groups(evaluation),
    )


def protocol(evaluation: Evaluation) -> list[tuple[str, str]]:
    """What tables leave out, as (name, words): each bench, how numbers were read off, warnings."""
    lines = [(bench.name, bench.words()) for bench in evaluation.benches]
    lines.append(("protocol", evaluation.protocol_words()))
    everything = _all(evaluation)
    people, thresholds, warnings = [], [], []
    for bench, model, numbers in everything:
        who = f"{bench.name}, {model.name}"
        if numbers.bootstrap is not None:
            people.append(("people", f"{who}: {_drawn(numbers.bootstrap, evaluation)}"))
        sources = dict.fromkeys(point.source for point in numbers.transferred)
        thresholds += [("thresholds", f"{who}: set on {source}") for source in sources]
        warnings += [
            ("warning", f"{who}, FAR {far_name(point.target_far)}: {point.warning}")
            for point in numbers.points
            if point.warning
        ]
    return lines + people + thresholds + warnings


def _drawn(over: SubjectBootstrap, evaluation: Evaluation) -> str:
    """Who was drawn anew and how often, or why nobody was."""
    if over.reason:
        return f"no interval over people: {over.reason.rstrip('.')}"
    rule = ", thresholds by the strict rule" if evaluation.protocol == "insightface" else ""
    return (
        f"{over.subjects:,} drawn anew {over.replicates:,} times, seed {over.seed}{rule} "
        f"({over.subjects_from})"
    )


def notes(evaluation: Evaluation) -> list[str]:
    """The same as lines."""
    return [f"{name}: {words}." for name, words in protocol(evaluation)]


def _filled(*made: Table) -> list[Table]:
    return [table for table in made if table.rows]


def _all(evaluation: Evaluation) -> list[tuple[BenchResult, ModelResult, Verification]]:
    return [(b, model, numbers) for b in evaluation.benches for model, numbers in b.verified()]


def _summary(evaluation: Evaluation) -> Table:
    everything = _all(evaluation)
    fars = sorted({p.target_far for _, _, n in everything for p in n.points}, reverse=True)
    folded = any(numbers.accuracy is not None for _, _, numbers in everything)
    rows = []
    for bench, model, numbers in everything:
        at = {point.target_far: point.tar for point in numbers.points}
        tars = [NONE if at.get(far) is None else percent(at[far]) for far in fars]
        others = (percent(numbers.auc), percent(numbers.eer), f"{numbers.min_dcf.value:.4f}")
        rows.append((bench.name, model.name, *_accuracy(numbers)[: 2 * folded], *others, *tars))
    heads = ("accuracy ± fold std", "95 % interval")[: 2 * folded]
    return Table(
        "Verification, % (TAR at FAR; minDCF has no unit)",
        ("bench", "model", *heads, "AUC", "EER", "minDCF", *map(far_name, fars)),
        tuple(rows),
    )


def _accuracy(numbers: Verification) -> Row:
    if numbers.accuracy is None:
        return NONE, NONE
    mean, std = percent(numbers.accuracy.mean), percent(numbers.accuracy.fold_std)
    return f"{mean} ± {std}", percent_interval(numbers.accuracy.interval)


def _operating_points(evaluation: Evaluation) -> Table:
    rows = [
        (bench.name, model.name, far_name(point.target_far), *_point(point))
        for bench, model, numbers in _all(evaluation)
        for point in numbers.points
    ]
    head = ("TAR", "95 % interval", "FNMR", "FAR reached", "95 % interval", "false accepts")
    return Table(
        "Operating points (TAR and FNMR in %, FAR as a fraction, thresholds are cosines)",
        ("bench", "model", "FAR", *head, "threshold"),
        tuple(rows),
    )


def _point(point: OperatingPoint) -> Row:
    if point.tar is None or point.threshold is None or point.far is None:
        few = f"{point.impostors:,} pairs"
        return NONE, "not enough impostors", NONE, NONE, NONE, few, NONE
    return (
        percent(point.tar),
        percent_interval(point.interval),
        percent(point.fnmr),
        fraction(point.far),
        fraction_interval(point.far_interval),
        f"{point.false_accepts:,} of {point.allowed:,} allowed",
        f"{point.threshold:.4f}",
    )


def _bootstrap(evaluation: Evaluation) -> Table:
    rows = [
        (bench.name, model.name, *row)
        for bench, model, numbers in _all(evaluation)
        if numbers.bootstrap is not None
        for row in _sure(numbers, numbers.bootstrap)
    ]
    head = ("number", "value", "95 % over pairs", "95 % over people")
    return Table(
        "How sure the numbers are when people are drawn anew, %",
        ("bench", "model", *head),
        tuple(rows),
        words=3,
    )


def _sure(numbers: Verification, over: SubjectBootstrap) -> list[Row]:
    rows: list[Row] = []
    if numbers.accuracy is not None and over.accuracy is not None:
        pairs = percent_interval(numbers.accuracy.interval)
        mean = percent(numbers.accuracy.mean)
        rows.append(("accuracy", mean, pairs, percent_interval(over.accuracy)))
    for name, value, interval in (
        ("AUC", numbers.auc, over.auc),
        ("EER", numbers.eer, over.eer),
    ):
        if interval is not None:
            rows.append((name, percent(value), NONE, percent_interval(interval)))
    for far, interval in over.tar:
        point = numbers.point(far)
        pairs = percent_interval(point.interval)
        name = f"TAR at {far_name(far)}"
        rows.append((name, percent(point.tar), pairs, percent_interval(interval)))
    return rows


def differences(evaluation: Evaluation) -> Table:
    """Every other model against the baseline, by pairs; no rows if there are none."""
    rows = [row for bench in evaluation.benches for row in _bench_differences(bench)]
    return Table(
        "Differences on the same pairs, in points (95 % interval; exact McNemar p; thresholds "
        "taken as given)",
        ("bench", "models", "number", "difference", "95 % interval", "p"),
        tuple(rows),
        words=3,
    )


def _bench_differences(bench: BenchResult) -> list[Row]:
    rows: list[Row] = []
    for name, comparison in bench.comparisons():
        between = f"{name} - {bench.baseline}"
        if comparison.accuracy is not None:
            rows.append((bench.name, between, "accuracy", *_difference(comparison.accuracy)))
        rows += [
            (bench.name, between, f"TAR at {far_name(far)}", *_difference(difference))
            for far, difference in comparison.tars
        ]
    return rows


def _difference(d: PairedDifference) -> Row:
    low, high = d.interval
    p = "< 0.0001" if d.p_value < 1e-4 else f"{d.p_value:.4f}"
    return f"{100 * d.difference:+.2f}", f"[{100 * low:+.2f}, {100 * high:+.2f}]", p


def _transferred(evaluation: Evaluation) -> Table:
    rows = [
        (
            bench.name,
            model.name,
            far_name(point.target_far),
            f"{point.threshold:.4f}",
            fraction(point.far),
            fraction_interval(point.far_interval),
            f"{point.false_accepts:,}",
            percent(point.tar),
            percent_interval(point.tar_interval),
        )
        for bench, model, numbers in _all(evaluation)
        for point in numbers.transferred
    ]
    head = ("FAR there", "threshold", "FAR here", "95 % interval", "false accepts", "TAR here")
    return Table(
        "Thresholds set elsewhere, applied here (FAR as a fraction, TAR in %)",
        ("bench", "model", *head, "95 % interval"),
        tuple(rows),
    )


def _groups(evaluation: Evaluation) -> Table:
    rows: list[Row] = []
    for bench, model, numbers in _all(evaluation):
        for report in numbers.groups:
            far = far_name(report.target_far)
            if report.threshold_from != "this set":
                far += " there"
            at = (bench.name, model.name, far)
            threshold = f"{report.threshold:.4f}"
            for rate in report.rates:
                counts = (f"{rate.genuine:,}", f"{rate.impostors:,}")
                fmr = (fraction(rate.fmr), fraction_interval(rate.fmr_interval))
                fnmr = (percent(rate.fnmr), percent_interval(rate.fnmr_interval))
                rows.append((*at, rate.group, *counts, threshold, *fmr, *fnmr))
            ratios = (_times(report.fmr_ratio), NONE, _times(report.fnmr_ratio), NONE)
            rows.append((*at, "worst / best", NONE, NONE, threshold, *ratios))
            if report.outside:
                outside = (f"{report.outside:,} pairs", *[NONE] * 6)
                rows.append((*at, "in no group", *outside))
    head = ("genuine", "impostors", "threshold", "FMR", "95 % interval", "FNMR", "95 % interval")
    return Table(
        "Groups at one common threshold (FMR as a fraction, FNMR in %)",
        ("bench", "model", "FAR", "group", *head),
        tuple(rows),
        words=4,
    )


def _times(ratio: float | None) -> str:
    return NONE if ratio is None else f"{ratio:.2f} x"
