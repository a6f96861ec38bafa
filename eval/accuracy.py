"""Ten-fold verification accuracy: a threshold from nine folds, judged on the tenth."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FacekdError, did_you_mean
from .intervals import clopper_pearson
from .scores import Array, check_scores

AccuracyProtocol = Literal["exact", "insightface"]
GRID = np.arange(0, 4, 0.01)
"""insightface's 400 thresholds on squared distance."""


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracy over folds.

    Attributes:
        mean: The mean of the folds' accuracies.
        fold_std: Their population standard deviation: the "+-" of insightface's tables. It tells
            how unequal the folds are, not how sure the mean is.
        interval: 95 % Clopper-Pearson interval for the share of right pairs.
        per_fold: float64 (folds,).
        thresholds: float64 (folds,), each fold's threshold as a score (cosine).
        correct: bool (m,), which pairs were judged rightly, in the order given.
    """

    mean: float
    fold_std: float
    interval: tuple[float, float]
    per_fold: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    correct: NDArray[np.bool_]


def fold_accuracy(
    scores: ArrayLike, same: ArrayLike, folds: ArrayLike, protocol: AccuracyProtocol = "exact"
) -> FoldAccuracy:
    """Judge each fold with the threshold that is best on all the others.

    `exact` tries every distinct training score (a pair is accepted at or above the threshold) and
    accepting nothing; among equally good ones it takes the middle one by rank (the higher of two).
    So the outcome depends on the order of the scores only. `insightface` tries squared distances
    0, 0.01 ... 3.99 of unit embeddings, d = 2 - 2 cos, accepts d < threshold, and takes the first
    best (`recognition/arcface_torch/eval/verification.py`).

    Args:
        scores: (m,) cosines.
        same: (m,) bools, True for a genuine pair.
        folds: (m,) ints, each pair's fold.
        protocol: `exact` or `insightface`.

    Raises:
        FacekdError: As `check_scores` and `check_folds`.
    """
    if protocol not in get_args(AccuracyProtocol):
        raise FacekdError(
            f"unknown protocol {protocol!r}; {did_you_mean(protocol, get_args(AccuracyProtocol))}"
        )
    score, answer = check_scores(scores, same)
    fold = np.asarray(folds)
    check_folds(fold, answer)
    judge = _JUDGES[protocol]
    accuracies, thresholds = [], []
    correct = np.empty(len(score), dtype=np.bool_)
    for name in np.unique(fold):
        held = fold == name
        threshold, accepted = judge(score[~held], answer[~held], score[held])
        correct[held] = accepted == answer[held]
        accuracies.append(correct[held].mean())
        thresholds.append(threshold)
    per_fold = np.asarray(accuracies)
    return FoldAccuracy(
        mean=float(per_fold.mean()),
        fold_std=float(per_fold.std()),
        interval=clopper_pearson(int(correct.sum()), len(correct)),
        per_fold=per_fold,
        thresholds=np.asarray(thresholds, dtype=np.float64),
        correct=correct,
    )


def check_folds(folds: NDArray[np.int64], same: NDArray[np.bool_]) -> None:
    """Check that a threshold can be learnt outside each fold; needs no scores.

    Raises:
        FacekdError: Not one fold a pair, one fold only, or a fold outside which one class is
            missing.
    """
    names = np.unique(folds)
    if folds.shape != same.shape or len(names) < 2:
        raise FacekdError(
            f"{len(names)} folds, {len(folds)} fold numbers for {len(same)} pairs; give every pair "
            "a fold, and at least two folds."
        )
    for name in names:
        seen = same[folds != name]
        if seen.all() or not seen.any():
            raise FacekdError(f"outside fold {name} all pairs are of one class; mix the folds.")


def best_threshold(scores: Array, same: NDArray[np.bool_]) -> float:
    """The middle one, by rank, of the thresholds that judge most pairs rightly; O(m log m)."""
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    ends = np.flatnonzero(np.append(falling[1:] != falling[:-1], True))
    gain = np.cumsum(np.where(same[order], 1, -1))[ends]
    gain = np.concatenate([[0], gain])  # first: accept nothing
    best = np.flatnonzero(gain == gain.max())
    middle = best[(len(best) - 1) // 2]
    if middle == 0:
        return float(np.nextafter(falling[0], np.inf))
    return float(falling[ends[middle - 1]])


def _judge_exact(
    seen: Array, same: NDArray[np.bool_], held: Array
) -> tuple[float, NDArray[np.bool_]]:
    """The threshold from the seen scores, and which held scores it accepts."""
    threshold = best_threshold(seen, same)
    return threshold, held >= threshold


def _judge_on_grid(
    seen: Array, same: NDArray[np.bool_], held: Array
) -> tuple[float, NDArray[np.bool_]]:
    """The same by insightface's grid; the threshold is given as a cosine, 1 - d/2."""
    distance = _squared_distance(seen)
    genuine, impostor = np.sort(distance[same]), np.sort(distance[~same])
    right = np.searchsorted(genuine, GRID) - np.searchsorted(impostor, GRID)
    best = float(GRID[np.argmax(right)])
    return 1 - best / 2, _squared_distance(held) < best


def _squared_distance(cosines: Array) -> NDArray[np.float64]:
    distance: NDArray[np.float64] = 2 - 2 * cosines.astype(np.float64)
    return distance


_JUDGES = {"exact": _judge_exact, "insightface": _judge_on_grid}
