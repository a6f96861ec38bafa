"""The tables of 1:N identification."""

from collections.abc import Iterator

from .identification import GallerySearch, Identification, OpenSetPoint
from .results import BenchResult, Evaluation, ModelResult
from .table import Table
from .words import NONE, percent, percent_interval

Row = tuple[str, ...]


def _all(evaluation: Evaluation) -> Iterator[tuple[BenchResult, ModelResult, Identification]]:
    for bench in evaluation.benches:
        for model, numbers in bench.identified():
            yield bench, model, numbers


def search_summary(evaluation: Evaluation) -> Table:
    """Rank rates and TPIR at FPIR, gallery by gallery and their mean."""
    everything = list(_all(evaluation))
    ranks = sorted({mean.rank for _, _, n in everything for mean in n.mean_ranks})
    fpirs = sorted({fpir for _, _, n in everything for fpir, _ in n.mean_tpir}, reverse=True)
    rows: list[Row] = []
    for bench, model, numbers in everything:
        for gallery in numbers.galleries:
            rate = {r.rank: r.rate for r in gallery.ranks}
            tpir = {point.target_fpir: point.tpir for point in gallery.points}
            counts = (gallery.subjects, gallery.mated, gallery.non_mated)
            rates = [rate.get(r) for r in ranks] + [tpir.get(f) for f in fpirs]
            cells = (*(f"{count:,}" for count in counts), *map(percent, rates))
            rows.append((bench.name, model.name, gallery.name, *cells))
        if len(numbers.galleries) > 1:
            rate = {mean.rank: mean.rate for mean in numbers.mean_ranks}
            tpir = dict(numbers.mean_tpir)
            rates = [rate.get(r) for r in ranks] + [tpir.get(f) for f in fpirs]
            rows.append((bench.name, model.name, "mean", NONE, NONE, NONE, *map(percent, rates)))
    head = [f"rank {rank}" for rank in ranks] + [f"FPIR {fpir:g}" for fpir in fpirs]
    return Table(
        "Identification, % (closed set: rank; open set: TPIR at FPIR)",
        ("bench", "model", "gallery", "enrolled", "mated", "non-mated", *head),
        tuple(rows),
        words=3,
    )


def search_intervals(evaluation: Evaluation) -> Table:
    """The same with intervals, thresholds and false positives."""
    rows = [
        (bench.name, model.name, gallery.name, *row)
        for bench, model, numbers in _all(evaluation)
        for gallery in numbers.galleries
        for row in _gallery(gallery)
    ]
    head = ("rate", "95 % interval", "FPIR reached", "false positives", "threshold")
    return Table(
        "Identification with intervals (rates in %, thresholds are cosines)",
        ("bench", "model", "gallery", "number", *head),
        tuple(rows),
        words=4,
    )


def _gallery(gallery: GallerySearch) -> list[Row]:
    rows: list[Row] = [
        (f"rank {r.rank}", percent(r.rate), percent_interval(r.interval), NONE, NONE, NONE)
        for r in gallery.ranks
    ]
    return rows + [
        (f"TPIR at FPIR {point.target_fpir:g}", *_open(point, gallery.non_mated))
        for point in gallery.points
    ]


def _open(point: OpenSetPoint, non_mated: int) -> Row:
    if point.tpir is None or point.threshold is None:
        return NONE, "not enough non-mated probes", NONE, f"{non_mated:,} probes", NONE
    return (
        percent(point.tpir),
        percent_interval(point.interval),
        percent(point.fpir),
        f"{point.false_positives:,} of {point.allowed:,} allowed",
        f"{point.threshold:.4f}",
    )
