"""What a threshold costs: TAR at FAR, the ROC curve, the area under it, the equal error rate."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .intervals import clopper_pearson
from .scores import SortedScores

FARS = (1e-1, 1e-2, 1e-3, 1e-4)


@dataclass(frozen=True)
class OperatingPoint:
    """The largest TAR whose FAR does not exceed the target.

    Attributes:
        target_far: The FAR asked for.
        allowed: How many false accepts that allows.
        impostors: How many impostor pairs there are.
        genuine: How many genuine pairs there are.
        tar: The true accept rate; None where not one false accept is allowed.
        interval: 95 % Clopper-Pearson interval for the TAR at this threshold, or None.
        threshold: The highest score that reaches this TAR, or None.
        far: The FAR it really has, or None.
        false_accepts: How many false accepts it makes, or None.
        reason: Why there is no number; empty where there is one.
    """

    target_far: float
    allowed: int
    impostors: int
    genuine: int
    tar: float | None = None
    interval: tuple[float, float] | None = None
    threshold: float | None = None
    far: float | None = None
    false_accepts: int | None = None
    reason: str = ""


@dataclass(frozen=True)
class RocCurve:
    """The ROC polyline, from (0, 0) to (1, 1); straight between its points.

    Attributes:
        far: float64 (k,), rising.
        tar: float64 (k,), rising.
    """

    far: NDArray[np.float64]
    tar: NDArray[np.float64]


def false_accepts_allowed(far: float, impostors: int) -> int:
    """The largest k with k / impostors <= far, free of rounding."""
    k = math.floor(far * impostors) + 1
    while k / impostors > far:
        k -= 1
    return k


def tar_at_far(scores: SortedScores, far: float) -> OperatingPoint:
    """The largest TAR whose FAR is at or below `far`; never the nearest point, never interpolated.

    Tied scores stand or fall together: the threshold accepts every score at or above it. Of all
    thresholds that reach that TAR the highest is taken, so no false accept is made for nothing.

    Args:
        scores: Sorted genuine and impostor scores.
        far: The target, in (0, 1].

    Raises:
        FacekdError: The target is not in (0, 1].
    """
    if not 0 < far <= 1:
        raise FacekdError(f"a target FAR of {far} is not in (0, 1]; give a fraction such as 1e-3.")
    genuine, impostor = scores.genuine, scores.impostor
    allowed = false_accepts_allowed(far, len(impostor))
    if allowed < 1:
        return OperatingPoint(
            far,
            allowed,
            len(impostor),
            len(genuine),
            reason=f"not enough impostors: {len(impostor)} pairs, FAR {far:g} needs at least "
            f"{math.ceil(1 / far)}",
        )
    first = 0
    if allowed < len(impostor):
        too_low = impostor[len(impostor) - allowed - 1]  # accepting this one is one too many
        first = int(np.searchsorted(genuine, too_low, side="right"))
    accepted = len(genuine) - first
    threshold = float(genuine[first]) if accepted else scores.above_all()
    false_accepts = int(scores.false_accepts(threshold))
    return OperatingPoint(
        target_far=far,
        allowed=allowed,
        impostors=len(impostor),
        genuine=len(genuine),
        tar=accepted / len(genuine),
        interval=clopper_pearson(accepted, len(genuine)),
        threshold=threshold,
        far=false_accepts / len(impostor),
        false_accepts=false_accepts,
    )


def roc_curve(scores: SortedScores) -> RocCurve:
    """Every corner of the ROC: the points just above and at each distinct genuine score.

    Between two genuine scores the curve is level, so these points tell all of it; where impostors
    tie with a genuine score it runs straight between the two points, as the area counts it.
    """
    g, i = len(scores.genuine), len(scores.impostor)
    levels = np.unique(scores.genuine)[::-1]
    corners = [
        (
            count - np.searchsorted(values, levels, side="right"),
            count - np.searchsorted(values, levels, side="left"),
        )
        for values, count in ((scores.impostor, i), (scores.genuine, g))
    ]
    far, tar = (np.stack(pair, axis=1).ravel() for pair in corners)
    return RocCurve(
        far=np.concatenate([[0], far, [i]]) / i,
        tar=np.concatenate([[0], tar, [g]]) / g,
    )


def auc(scores: SortedScores) -> float:
    """The area under the ROC: P(genuine > impostor) + P(genuine = impostor) / 2, counted exactly.

    The Mann-Whitney statistic over all g * i pairs of one genuine and one impostor score.
    """
    below = np.searchsorted(scores.impostor, scores.genuine, side="left")
    not_above = np.searchsorted(scores.impostor, scores.genuine, side="right")
    wins = int(below.sum(dtype=np.int64)) + int(not_above.sum(dtype=np.int64))
    return wins / (2 * len(scores.genuine) * len(scores.impostor))


def equal_error_rate(scores: SortedScores) -> float:
    """The rate at which the ROC polyline meets FAR = 1 - TAR, linear between its points."""
    curve = roc_curve(scores)
    balance = curve.far + curve.tar - 1  # rises from -1 to 1
    after = int(np.argmax(balance >= 0))
    before = after - 1
    share = -balance[before] / (balance[after] - balance[before])
    return float(curve.far[before] + share * (curve.far[after] - curve.far[before]))
