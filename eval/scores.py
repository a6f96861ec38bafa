"""Scores, checked and sorted once: the core that every number is read from.

A score says how alike two faces are (a cosine); a threshold `t` accepts every score `>= t`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FacekdError

Array = NDArray[Any]


@dataclass(frozen=True)
class SortedScores:
    """Genuine and impostor scores, each in rising order; counts at any threshold in O(log n).

    Attributes:
        genuine: (g,) floats, rising.
        impostor: (i,) floats, rising.
    """

    genuine: Array
    impostor: Array

    def true_accepts(self, threshold: ArrayLike) -> Any:
        """How many genuine scores are >= each threshold."""
        return len(self.genuine) - np.searchsorted(self.genuine, threshold, side="left")

    def false_accepts(self, threshold: ArrayLike) -> Any:
        """How many impostor scores are >= each threshold."""
        return len(self.impostor) - np.searchsorted(self.impostor, threshold, side="left")

    def above_all(self) -> float:
        """The lowest threshold of the scores' precision that accepts nothing."""
        top = max(self.genuine[-1], self.impostor[-1])
        return float(np.nextafter(top, np.inf))


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
    answer = answer.astype(np.bool_)
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
    return SortedScores(np.sort(score[answer]), np.sort(score[~answer]))


def cosine_scores(embeddings: Array, left: Array, right: Array) -> NDArray[np.float64]:
    """The cosine of each pair's two embeddings.

    Args:
        embeddings: float (n, d), any norm but zero.
        left: int (m,), rows of the first images.
        right: int (m,), rows of the second images.

    Returns:
        float64 (m,) in [-1, 1].

    Raises:
        FacekdError: An embedding is not finite or has norm zero, or a row is not there.
    """
    if embeddings.ndim != 2 or len(left) != len(right):
        raise FacekdError(
            f"embeddings of shape {embeddings.shape}, {len(left)} left and {len(right)} right "
            "rows; expected (n, d) and one row of each per pair."
        )
    for rows in (left, right):
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(embeddings):
            raise FacekdError(
                f"the pairs name rows {rows.min()} to {rows.max()} of {len(embeddings)} embeddings."
            )
    unit = embeddings.astype(np.float64)
    norms = np.linalg.norm(unit, axis=1)
    bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
    if len(bad):
        raise FacekdError(
            f"the embedding of image {bad[0]} has norm {norms[bad[0]]} ({len(bad)} of {len(norms)} "
            "are zero or not finite); look for broken weights or images."
        )
    unit /= norms[:, None]
    cosines: NDArray[np.float64] = np.einsum("md,md->m", unit[left], unit[right])
    return cosines.clip(-1.0, 1.0)
