"""All numbers of one model on one set of pairs: scores in, numbers out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FacekdError
from .accuracy import AccuracyProtocol, FoldAccuracy, fold_accuracy
from .compare import PairedDifference, paired
from .operating import (
    FARS,
    OperatingPoint,
    RocCurve,
    auc,
    equal_error_rate,
    roc_curve,
    tar_at_far,
)
from .scores import Array, check_scores, sort_scores


@dataclass(frozen=True)
class Verification:
    """What one model does on one set of pairs.

    Attributes:
        scores: float (m,), the cosines.
        same: bool (m,), True for a genuine pair.
        accuracy: Over folds.
        points: TAR at each FAR asked for.
        auc: Area under the ROC.
        eer: Equal error rate.
        roc: The curve.
    """

    scores: Array
    same: NDArray[np.bool_]
    accuracy: FoldAccuracy
    points: tuple[OperatingPoint, ...]
    auc: float
    eer: float
    roc: RocCurve

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
        accuracy: Over all pairs, each fold at its own threshold.
        tars: (FAR, difference over the genuine pairs), each model at its own threshold; FARs where
            either has no operating point are left out.
    """

    accuracy: PairedDifference
    tars: tuple[tuple[float, PairedDifference], ...]


def verify(
    scores: ArrayLike,
    same: ArrayLike,
    folds: ArrayLike,
    *,
    fars: Sequence[float] = FARS,
    protocol: AccuracyProtocol = "exact",
) -> Verification:
    """Accuracy over folds, TAR at each FAR, AUC, EER and the ROC curve.

    Args:
        scores: (m,) cosines.
        same: (m,) bools, True for a genuine pair.
        folds: (m,) ints, each pair's fold.
        fars: Target false accept rates, fractions.
        protocol: How the accuracy threshold is searched, `exact` or `insightface`.

    Raises:
        FacekdError: As `check_scores`, `fold_accuracy` and `tar_at_far`.
    """
    score, answer = check_scores(scores, same)
    ranked = sort_scores(score, answer)
    return Verification(
        scores=score,
        same=answer,
        accuracy=fold_accuracy(score, answer, folds, protocol),
        points=tuple(tar_at_far(ranked, far) for far in fars),
        auc=auc(ranked),
        eer=equal_error_rate(ranked),
        roc=roc_curve(ranked),
    )


def compare(first: Verification, second: Verification) -> Comparison:
    """The paired difference second - first in accuracy and in TAR at every FAR both have.

    Raises:
        FacekdError: The two do not stand on the same pairs.
    """
    if not np.array_equal(first.same, second.same):
        raise FacekdError("the two models were not scored on the same pairs.")
    tars = []
    for a in first.points:
        b = next((p for p in second.points if p.target_far == a.target_far), None)
        if b is None or a.threshold is None or b.threshold is None:
            continue
        outcomes = (
            model.scores[model.same] >= threshold
            for model, threshold in ((first, a.threshold), (second, b.threshold))
        )
        tars.append((a.target_far, paired(*outcomes)))
    return Comparison(
        accuracy=paired(first.accuracy.correct, second.accuracy.correct), tars=tuple(tars)
    )
