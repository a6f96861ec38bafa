"""The outcome of an evaluation, and its form as plain JSON and CSV values.

`results.json`, format 1. Rates are fractions, scores cosines, None is "no number" (with a reason):

    format, facekd (version)
    protocol: flip, score, threshold_search, far_rule, intervals, fold_std
    benches[]: name, source, images (different ones), folds, pairs, genuine, impostors, baseline
      models[]: name, file, image_size, auc, eer
        accuracy: mean, fold_std, interval, per_fold, thresholds
        tar_at_far[]: the fields of `operating.OperatingPoint`
      comparisons[]: model (against the bench's baseline: model minus baseline)
        accuracy: the fields of `compare.PairedDifference`
        tar_at_far[]: target_far and those fields
"""

from dataclasses import asdict, dataclass
from typing import Any

from .. import __version__
from .accuracy import AccuracyProtocol
from .verification import Comparison, Verification, compare

FORMAT = 1


@dataclass(frozen=True)
class ModelResult:
    """One model on one bench.

    Attributes:
        name: What tables call it.
        file: Where it was loaded from.
        image_size: Size of the images and of the model's input, in words.
        numbers: What came out.
    """

    name: str
    file: str
    image_size: str
    numbers: Verification


@dataclass(frozen=True)
class BenchResult:
    """All models on one bench; the baseline is the one the others are compared with.

    Attributes:
        name: The bench.
        source: Where its pairs come from.
        images: How many different images.
        folds: How many folds.
        models: One or more, all on the same pairs.
        baseline: Name of one of them.
    """

    name: str
    source: str
    images: int
    folds: int
    models: tuple[ModelResult, ...]
    baseline: str

    @property
    def genuine(self) -> int:
        """How many genuine pairs."""
        return int(self.models[0].numbers.same.sum())

    @property
    def impostors(self) -> int:
        """How many impostor pairs."""
        return len(self.models[0].numbers.same) - self.genuine

    def comparisons(self) -> list[tuple[str, Comparison]]:
        """(name, difference to the baseline) of every other model."""
        base = next(model for model in self.models if model.name == self.baseline)
        others = [model for model in self.models if model.name != self.baseline]
        return [(model.name, compare(base.numbers, model.numbers)) for model in others]


@dataclass(frozen=True)
class Evaluation:
    """Models on benches under one protocol.

    Attributes:
        benches: The results.
        flip: Whether the mirrored image's embedding was added.
        protocol: How the accuracy threshold was searched.
    """

    benches: tuple[BenchResult, ...]
    flip: bool
    protocol: AccuracyProtocol

    def protocol_words(self) -> str:
        """The protocol in one line."""
        flip = "with the mirrored image's embedding added" if self.flip else "without flip"
        return (
            f"cosine of two embeddings, {flip}; accuracy threshold by {self.protocol} search on "
            "the other folds; TAR is the largest whose FAR <= target; brackets are 95 % intervals"
        )


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The evaluation as plain values (the schema stands at the top of this file)."""
    return {
        "format": FORMAT,
        "facekd": __version__,
        "protocol": {
            "flip": evaluation.flip,
            "score": "cosine",
            "threshold_search": evaluation.protocol,
            "far_rule": "the largest TAR whose FAR <= target",
            "intervals": "95 %: Clopper-Pearson for rates, Bonett-Price for paired differences",
            "fold_std": "population standard deviation over folds",
        },
        "benches": [_bench(bench) for bench in evaluation.benches],
    }


def as_rows(evaluation: Evaluation) -> list[dict[str, Any]]:
    """One flat row a bench and model, for CSV; fractions, None where there is no number."""
    rows = []
    for bench in evaluation.benches:
        for model in bench.models:
            numbers = model.numbers
            low, high = numbers.accuracy.interval
            row: dict[str, Any] = {
                "bench": bench.name,
                "model": model.name,
                "file": model.file,
                "flip": evaluation.flip,
                "threshold_search": evaluation.protocol,
                "image_size": model.image_size,
                "genuine": bench.genuine,
                "impostors": bench.impostors,
                "accuracy": numbers.accuracy.mean,
                "accuracy_fold_std": numbers.accuracy.fold_std,
                "accuracy_low": low,
                "accuracy_high": high,
                "auc": numbers.auc,
                "eer": numbers.eer,
            }
            for point in numbers.points:
                at = f"@{point.target_far:g}"
                row["tar" + at] = point.tar
                row["tar_low" + at], row["tar_high" + at] = point.interval or (None, None)
                row["threshold" + at] = point.threshold
                row["far" + at] = point.far
                row["false_accepts" + at] = point.false_accepts
                row["false_accepts_allowed" + at] = point.allowed
            rows.append(row)
    return rows


def _bench(bench: BenchResult) -> dict[str, Any]:
    return {
        "name": bench.name,
        "source": bench.source,
        "images": bench.images,
        "folds": bench.folds,
        "pairs": bench.genuine + bench.impostors,
        "genuine": bench.genuine,
        "impostors": bench.impostors,
        "baseline": bench.baseline,
        "models": [_model(model) for model in bench.models],
        "comparisons": [
            {
                "model": name,
                "accuracy": asdict(difference.accuracy),
                "tar_at_far": [{"target_far": far, **asdict(d)} for far, d in difference.tars],
            }
            for name, difference in bench.comparisons()
        ],
    }


def _model(model: ModelResult) -> dict[str, Any]:
    accuracy = model.numbers.accuracy
    return {
        "name": model.name,
        "file": model.file,
        "image_size": model.image_size,
        "auc": model.numbers.auc,
        "eer": model.numbers.eer,
        "accuracy": {
            "mean": accuracy.mean,
            "fold_std": accuracy.fold_std,
            "interval": accuracy.interval,
            "per_fold": accuracy.per_fold.tolist(),
            "thresholds": accuracy.thresholds.tolist(),
        },
        "tar_at_far": [asdict(point) for point in model.numbers.points],
    }
