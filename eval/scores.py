"""Scores, checked and sorted once: the core that every number is read from.

A score says how alike two faces are (a cosine); a threshold `t` accepts every score `>= t`.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FacekdError

Array = NDArray[Any]


@dataclass(frozen=True)
class SortedScores:
    """Genuine and impostor scores, each in rising order; counts at any threshold in O(log n).

    Where all pairs of a large set are scored, equal impostor scores are kept once, with a count.

    Attributes:
        genuine: (g,) floats, rising.
        impostor: (i,) floats, rising.
        impostor_counts: int64 (i,), how many impostor pairs have each of those scores, at least
            one; None where every pair is listed on its own.
    """

    genuine: Array
    impostor: Array
    impostor_counts: NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        """Check the counts, which come from outside; the order is the maker's word."""
        counts = self.impostor_counts
        if counts is not None and (counts.shape != self.impostor.shape or (counts < 1).any()):
            raise FacekdError(
                f"impostor counts of shape {counts.shape} for {self.impostor.shape} scores; give "
                "every score a count of at least one."
            )

    @cached_property
    def impostors(self) -> int:
        """How many impostor pairs there are."""
        return len(self.impostor) if self._lower is None else int(self._lower[-1])

    @cached_property
    def _lower(self) -> NDArray[np.int64] | None:
        """int64 (i + 1,), how many impostor pairs the first 0, 1 ... i listed scores stand for."""
        if self.impostor_counts is None:
            return None
        return np.concatenate([[0], np.cumsum(self.impostor_counts, dtype=np.int64)])

    def true_accepts(self, threshold: ArrayLike, *, strictly: bool = False) -> Any:
        """How many genuine scores are >= each threshold; `strictly`: > each threshold."""
        return len(self.genuine) - _lower_than(self.genuine, threshold, strictly)

    def false_accepts(self, threshold: ArrayLike, *, strictly: bool = False) -> Any:
        """How many impostor pairs score >= each threshold; `strictly`: > each threshold."""
        position = _lower_than(self.impostor, threshold, strictly)
        return self.impostors - (position if self._lower is None else self._lower[position])

    def nth_highest_impostor(self, n: int) -> float:
        """The score of the impostor pair that n others outrank; n = 0 is the highest."""
        return float(self.impostor[self.place_of_impostor(n)])

    def place_of_impostor(self, n: int) -> int:
        """Where in `impostor` the pair stands that n others outrank, 0 <= n < impostors."""
        if not 0 <= n < self.impostors:
            raise FacekdError(f"there is no impostor {n} from the top among {self.impostors}.")
        if self._lower is None:
            return len(self.impostor) - 1 - n
        return int(np.searchsorted(self._lower, self.impostors - n, side="left")) - 1

    def above_all(self) -> float:
        """The lowest threshold of the scores' precision that accepts nothing."""
        top = max(self.genuine[-1], self.impostor[-1])
        return float(np.nextafter(top, np.inf))


def _lower_than(values: Array, threshold: ArrayLike, or_equal: bool) -> Any:
    """How many rising values are < each threshold, or <= it.

    The threshold is brought to the values' precision, never the values to the threshold's: for 16
    million scores that would be a copy of all of them at every question.
    """
    exact = np.asarray(threshold)
    limit = exact.astype(values.dtype)
    if limit.dtype != exact.dtype:
        wrong = limit > exact if or_equal else limit < exact
        away = -np.inf if or_equal else np.inf
        limit = np.where(wrong, np.nextafter(limit, values.dtype.type(away)), limit)
    return np.searchsorted(values, limit, side="right" if or_equal else "left")


def check_scores(scores: ArrayLike, same: ArrayLike) -> tuple[Array, NDArray[np.bool_]]:
    """Scores and answers as arrays, after checking that numbers can be read from them.

    Args:
        scores: (m,) finite floats.
        same: (m,) bools, True for a genuine pair.

    Raises:
        FacekdError: Unequal counts, a score that is NaN or infinite, or one class only.
    """
    score, answer = np.asarray(scores), np.asarray(same)
    if not np.issubdtype(score.dtype, np.floating):
        score = score.astype(np.float64)
    if score.ndim != 1 or answer.shape != score.shape:
        raise FacekdError(
            f"scores of shape {score.shape} for {answer.shape} answers; give one score a pair."
        )
    finite = np.isfinite(score)
    if not finite.all():
        bad = np.flatnonzero(~finite)
        raise FacekdError(
            f"the score of pair {bad[0]} is {score[bad[0]]} ({len(bad)} of {len(score)} scores are "
            "not finite); look for broken weights or images."
        )
    answer = answer.astype(np.bool_, copy=False)
    genuine = int(np.count_nonzero(answer))
    if genuine in (0, len(answer)):
        kind = "impostor" if genuine else "genuine"
        raise FacekdError(
            f"none of the {len(answer)} pairs is {kind}; verification needs genuine and impostor "
            "pairs."
        )
    return score, answer


def sort_scores(scores: ArrayLike, same: ArrayLike) -> SortedScores:
    """Check the scores and sort each class, in O(m log m); raises as `check_scores` does."""
    score, answer = check_scores(scores, same)
    genuine, impostor = score[answer], score[~answer]
    genuine.sort()
    impostor.sort()
    return SortedScores(genuine, impostor)
