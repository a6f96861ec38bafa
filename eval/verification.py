"""All numbers of one model on one set of pairs: scores in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FacekdError
from .accuracy import AccuracyProtocol, FoldAccuracy, fold_accuracy
from .bootstrap import SubjectBootstrap, bootstrap
from .compare import PairedDifference, paired
from .groups import GroupReport, group_reports
from .operating import (
    FARS,
    DetectionCost,
    FarRule,
    OperatingPoint,
    RocCurve,
    auc,
    equal_error_rate,
    min_dcf,
    roc_curve,
    tar_at_far,
)
from .quality import RejectCurve, reject_curve
from .scores import Array, SortedScores, check_scores, sort_scores
from .transfer import SetThreshold, TransferredPoint, apply_thresholds
from .trials import Trials

QUALITY_FAR = 1e-3


@dataclass(frozen=True)
class Questions:
    """What is asked of the scores.

    Attributes:
        fars: Target false accept rates, fractions.
        protocol: `exact` (TAR is the largest whose FAR <= target; accuracy thresholds from all
            scores) or `insightface` (nearest ROC point; 400 distances), as its scripts do.
        bootstrap: How many times subjects are resampled; 0 for no bootstrap.
        seed: Of the bootstrap.
        thresholds: Thresholds that were set on another set, to be applied to this one.
    """

    fars: tuple[float, ...] = FARS
    protocol: AccuracyProtocol = "exact"
    bootstrap: int = 0
    seed: int = 0
    thresholds: tuple[SetThreshold, ...] = ()


@dataclass(frozen=True)
class Verification:
    """What one model does on one set of pairs.

    Attributes:
        ranked: The scores of each class, sorted; all-pairs impostors come counted.
        points: TAR at each FAR asked for.
        auc: Area under the ROC.
        eer: Equal error rate.
        min_dcf: Smallest normalised detection cost.
        roc: The curve.
        accuracy: Over folds; None where the protocol has no folds.
        scores: float (m,), in the order of the trials; None where all pairs were streamed.
        trials: The pairs; None where all pairs were streamed.
        groups: One report a threshold, where groups were given.
        quality: Error against reject by embedding norm, where norms are known.
        bootstrap: Intervals over resampled subjects, where asked for.
        transferred: What thresholds set elsewhere do here.
    """

    ranked: SortedScores
    points: tuple[OperatingPoint, ...]
    auc: float
    eer: float
    min_dcf: DetectionCost
    roc: RocCurve
    accuracy: FoldAccuracy | None = None
    scores: Array | None = None
    trials: Trials | None = None
    groups: tuple[GroupReport, ...] = ()
    quality: RejectCurve | None = None
    bootstrap: SubjectBootstrap | None = None
    transferred: tuple[TransferredPoint, ...] = ()

    def point(self, far: float) -> OperatingPoint:
        """The operating point asked for at `far`."""
        for point in self.points:
            if point.target_far == far:
                return point
        raise FacekdError(f"no operating point at FAR {far:g} was asked for.")


@dataclass(frozen=True)
class Comparison:
    """A second model against a first, on the same pairs.

    Attributes:
        accuracy: Over all pairs, each fold at its own threshold; None where there are no folds.
        tars: (FAR, difference over the genuine pairs), each model at its own threshold; FARs where
            either has no operating point are left out.
    """

    accuracy: PairedDifference | None
    tars: tuple[tuple[float, PairedDifference], ...]


def verify(
    scores: ArrayLike,
    trials: Trials,
    questions: Questions | None = None,
    *,
    genuine_quality: NDArray[np.float32] | None = None,
) -> Verification:
    """TAR at each FAR, AUC, EER, minDCF, the ROC curve, and whatever else trials and questions ask.

    Args:
        scores: (m,) cosines, in the order of the trials.
        trials: The pairs.
        questions: What is asked; the defaults of `Questions` when None.
        genuine_quality: float32 (g,), quality of each genuine pair in order (`pair_quality`).

    Raises:
        FacekdError: As `check_scores`, `fold_accuracy`, `tar_at_far`, `group_reports`.
    """
    asked = questions or Questions()
    score, same = check_scores(scores, trials.same)
    numbers = verify_sorted(sort_scores(score, same), asked)
    extra: dict[str, Any] = {}
    if trials.folds is not None:
        extra["accuracy"] = fold_accuracy(score, same, trials.folds, asked.protocol)
    if trials.groups is not None:
        extra["groups"] = _group_reports(score, numbers, trials, asked.thresholds)
    if genuine_quality is not None and (point := _quality_point(numbers.points)) is not None:
        extra["quality"] = reject_curve(score[same], genuine_quality, point)
    if asked.bootstrap:
        extra["bootstrap"] = bootstrap(
            score,
            trials,
            asked.fars,
            correct=extra["accuracy"].correct if "accuracy" in extra else None,
            replicates=asked.bootstrap,
            seed=asked.seed,
            progress="bootstrap",
        )
    return replace(numbers, scores=score, trials=trials, **extra)


def verify_sorted(ranked: SortedScores, questions: Questions) -> Verification:
    """The numbers that sorted scores alone can give: no folds, no groups, no people."""
    rule: FarRule = "nearest" if questions.protocol == "insightface" else "strict"
    return Verification(
        ranked=ranked,
        points=tuple(tar_at_far(ranked, far, rule) for far in questions.fars),
        auc=auc(ranked),
        eer=equal_error_rate(ranked),
        min_dcf=min_dcf(ranked),
        roc=roc_curve(ranked),
        transferred=apply_thresholds(ranked, questions.thresholds),
    )


def compare(first: Verification, second: Verification) -> Comparison:
    """The paired difference second - first in accuracy and in TAR at every FAR both have.

    Raises:
        FacekdError: The two do not stand on the same pairs, or their scores were not kept.
    """
    genuine, other = (_genuine_scores(model) for model in (first, second))
    assert first.trials is not None
    assert second.trials is not None
    if not np.array_equal(first.trials.same, second.trials.same):
        raise FacekdError("the two models were not scored on the same pairs.")
    tars = []
    for a in first.points:
        b = next((p for p in second.points if p.target_far == a.target_far), None)
        if b is None or a.threshold is None or b.threshold is None:
            continue
        tars.append((a.target_far, paired(genuine >= a.threshold, other >= b.threshold)))
    accuracy = None
    if first.accuracy is not None and second.accuracy is not None:
        accuracy = paired(first.accuracy.correct, second.accuracy.correct)
    return Comparison(accuracy=accuracy, tars=tuple(tars))


def _genuine_scores(model: Verification) -> Array:
    if model.scores is None or model.trials is None:
        raise FacekdError("all pairs were streamed, not kept: models cannot be compared by pair.")
    return model.scores[model.trials.same]


def _group_reports(
    scores: Array,
    numbers: Verification,
    trials: Trials,
    thresholds: tuple[SetThreshold, ...],
) -> tuple[GroupReport, ...]:
    """At the thresholds set elsewhere where there are any, else at this set's own."""
    assert trials.groups is not None
    if thresholds:
        where = thresholds[0].source
        return group_reports(scores, trials.same, trials.groups, thresholds, where)
    return group_reports(scores, trials.same, trials.groups, numbers.points)


def _quality_point(points: Sequence[OperatingPoint]) -> OperatingPoint | None:
    """The point at FAR 1e-3, else the one of the lowest FAR that has a threshold."""
    known = [point for point in points if point.threshold is not None]
    at = [point for point in known if point.target_far == QUALITY_FAR]
    return next(iter(at or sorted(known, key=lambda point: point.target_far)), None)
