"""Two models on the same pairs: the difference, how sure it is, and whether it is chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc

from ..errors import FacekdError
from .intervals import paired_difference


@dataclass(frozen=True)
class PairedDifference:
    """Second model minus first, over trials that both have judged.

    Attributes:
        difference: (gained - lost) / trials.
        interval: 95 % Bonett-Price interval (`intervals.paired_difference`).
        p_value: Exact McNemar test, two-sided: a fair coin for every disagreement.
        gained: Trials where only the second succeeds.
        lost: Trials where only the first succeeds.
        trials: All of them.
    """

    difference: float
    interval: tuple[float, float]
    p_value: float
    gained: int
    lost: int
    trials: int


def paired(first: ArrayLike, second: ArrayLike) -> PairedDifference:
    """Compare two models by what each got right, trial by trial.

    For accuracy: `FoldAccuracy.correct` of both. For TAR at FAR: whether each genuine pair's score
    reaches the model's own threshold. Thresholds are taken as given, not as estimates; where few
    false accepts set them (FAR x impostors below about 30) the true interval is wider.

    Args:
        first: (m,) bools of the first model.
        second: (m,) bools of the second model, in the same order.

    Raises:
        FacekdError: Unequal counts, or no trials.
    """
    a: NDArray[np.bool_] = np.asarray(first, dtype=np.bool_)
    b: NDArray[np.bool_] = np.asarray(second, dtype=np.bool_)
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise FacekdError(
            f"outcomes of shapes {a.shape} and {b.shape} cannot be compared pair by pair; "
            "score both models on the same pairs."
        )
    gained, lost = int(np.count_nonzero(b & ~a)), int(np.count_nonzero(a & ~b))
    return PairedDifference(
        difference=(gained - lost) / len(a),
        interval=paired_difference(gained, lost, len(a)),
        p_value=mcnemar(gained, lost),
        gained=gained,
        lost=lost,
        trials=len(a),
    )


def mcnemar(gained: int, lost: int) -> float:
    """The exact McNemar test's two-sided p: twice the smaller tail of a fair coin, 1 at most.

    P(X <= k) of n tosses is the incomplete beta function I_1/2(n - k, k + 1).
    """
    fewer, more = min(gained, lost), max(gained, lost)
    return min(1.0, 2 * float(betainc(more, fewer + 1, 0.5))) if more else 1.0
