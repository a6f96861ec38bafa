"""An evaluation as plain JSON and CSV values.

`results.json`, format 2. Rates are fractions, scores cosines, None is "no number" (with a reason
where one is asked for); an interval is [low, high], 95 %:

    format, environment (facekd, python, numpy, scipy, torch where used, machine, date)
    protocol: name, words, far_rule, intervals, fold_std
    benches[]: name, kind, source, images, not_found, folds, genuine, impostors, baseline,
               scores (file of its scores, None on 1:N)
      models[]: name, file, image_size, scored, and, 1:1:
        auc, eer
        min_dcf: the fields of `operating.DetectionCost`
        accuracy: None, or mean, fold_std, interval, per_fold, thresholds
        tar_at_far[]: the fields of `operating.OperatingPoint`, and fnmr
        groups[]: the fields of `groups.GroupReport`
        quality: None, or the fields of `quality.RejectCurve`
        bootstrap: None, or the fields of `bootstrap.SubjectBootstrap`
        transferred[]: the fields of `transfer.TransferredPoint`
      or, 1:N:
        identification: the fields of `identification.Identification`
      comparisons[]: model (against the bench's baseline: model minus baseline)
        accuracy: None, or the fields of `compare.PairedDifference`
        tar_at_far[]: target_far and those fields

Format 1 had no kind, not_found, scored, scores, min_dcf, groups, quality, bootstrap, transferred,
identification nor environment; its protocol named flip and threshold_search.
"""

from dataclasses import asdict
from typing import Any

import numpy as np

from .environment import environment
from .identification import Identification
from .operating import OperatingPoint
from .results import BenchResult, Evaluation, ModelResult
from .verification import Comparison, Verification

FORMAT = 2
Plain = dict[str, Any]


def as_json(evaluation: Evaluation, files: dict[str, str]) -> Plain:
    """The evaluation as plain values (the schema stands at the top of this file).

    Args:
        evaluation: The results.
        files: Bench name -> file of its scores, as `results.json` should name it.
    """
    return {
        "format": FORMAT,
        "environment": environment(),
        "protocol": {
            "name": evaluation.protocol,
            "words": evaluation.protocol_words(),
            "far_rule": evaluation.far_rule(),
            "intervals": "95 %: Clopper-Pearson for rates, Bonett-Price for paired differences, "
            "percentiles for the bootstrap over subjects",
            "fold_std": "population standard deviation over folds",
        },
        "benches": [_bench(bench, files.get(bench.name)) for bench in evaluation.benches],
    }


def as_rows(evaluation: Evaluation) -> list[Plain]:
    """One flat row a bench and model, for CSV; fractions, None where there is no number.

    Every row has every column, those of other kinds of benches too.
    """
    rows = [
        _row(evaluation, bench, model) for bench in evaluation.benches for model in bench.models
    ]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [{name: row.get(name) for name in columns} for row in rows]


def _bench(bench: BenchResult, file: str | None) -> Plain:
    one_to_one = bench.genuine > 0
    return {
        "name": bench.name,
        "kind": bench.kind,
        "source": bench.source,
        "images": bench.images,
        "not_found": bench.not_found,
        "folds": bench.folds,
        "genuine": bench.genuine if one_to_one else None,
        "impostors": bench.impostors if one_to_one else None,
        "baseline": bench.baseline,
        "scores": file,
        "models": [_model(model) for model in bench.models],
        "comparisons": [_comparison(name, made) for name, made in bench.comparisons()],
    }


def _model(model: ModelResult) -> Plain:
    numbers = model.numbers
    return {
        "name": model.name,
        "file": model.file,
        "image_size": model.image_size,
        "scored": model.scored,
        **(
            {"identification": asdict(numbers)}
            if isinstance(numbers, Identification)
            else _verification(numbers)
        ),
    }


def _verification(numbers: Verification) -> Plain:
    accuracy, quality = numbers.accuracy, numbers.quality
    return {
        "auc": numbers.auc,
        "eer": numbers.eer,
        "min_dcf": asdict(numbers.min_dcf),
        "accuracy": None
        if accuracy is None
        else {
            "mean": accuracy.mean,
            "fold_std": accuracy.fold_std,
            "interval": accuracy.interval,
            "per_fold": accuracy.per_fold.tolist(),
            "thresholds": accuracy.thresholds.tolist(),
        },
        "tar_at_far": [{**asdict(point), "fnmr": point.fnmr} for point in numbers.points],
        "groups": [asdict(report) for report in numbers.groups],
        "quality": None if quality is None else _lists(asdict(quality)),
        "bootstrap": None if numbers.bootstrap is None else asdict(numbers.bootstrap),
        "transferred": [asdict(point) for point in numbers.transferred],
    }


def _comparison(name: str, made: Comparison) -> Plain:
    return {
        "model": name,
        "accuracy": None if made.accuracy is None else asdict(made.accuracy),
        "tar_at_far": [{"target_far": far, **asdict(difference)} for far, difference in made.tars],
    }


def _lists(values: Plain) -> Plain:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def _row(evaluation: Evaluation, bench: BenchResult, model: ModelResult) -> Plain:
    row: Plain = {
        "bench": bench.name,
        "kind": bench.kind,
        "model": model.name,
        "file": model.file,
        "scored": model.scored,
        "protocol": evaluation.protocol,
        "image_size": model.image_size,
        "images": bench.images,
        "not_found": bench.not_found,
    }
    if isinstance(model.numbers, Identification):
        return row | _identification_columns(model.numbers)
    return row | {"genuine": bench.genuine, "impostors": bench.impostors} | _columns(model.numbers)


def _columns(numbers: Verification) -> Plain:
    accuracy = numbers.accuracy
    low, high = (None, None) if accuracy is None else accuracy.interval
    columns: Plain = {
        "accuracy": accuracy and accuracy.mean,
        "accuracy_fold_std": accuracy and accuracy.fold_std,
        "accuracy_low": low,
        "accuracy_high": high,
        "auc": numbers.auc,
        "eer": numbers.eer,
        "min_dcf": numbers.min_dcf.value,
    }
    for point in numbers.points:
        columns |= _point_columns(point)
    return columns


def _point_columns(point: OperatingPoint) -> Plain:
    at = f"@{point.target_far:g}"
    tar_low, tar_high = point.interval or (None, None)
    far_low, far_high = point.far_interval or (None, None)
    values = {
        "tar": point.tar,
        "tar_low": tar_low,
        "tar_high": tar_high,
        "fnmr": point.fnmr,
        "threshold": point.threshold,
        "far": point.far,
        "far_low": far_low,
        "far_high": far_high,
        "false_accepts": point.false_accepts,
        "false_accepts_allowed": point.allowed,
    }
    return {name + at: value for name, value in values.items()}


def _identification_columns(numbers: Identification) -> Plain:
    columns: Plain = {f"rank{mean.rank}": mean.rate for mean in numbers.mean_ranks}
    columns |= {f"tpir@fpir={fpir:g}": tpir for fpir, tpir in numbers.mean_tpir}
    for gallery in numbers.galleries:
        columns |= {f"rank{rate.rank}:{gallery.name}": rate.rate for rate in gallery.ranks}
        columns |= {
            f"tpir@fpir={point.target_fpir:g}:{gallery.name}": point.tpir
            for point in gallery.points
        }
    return columns
