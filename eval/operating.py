"""What a threshold costs: TAR at FAR, the ROC curve, its area, equal error rate, minimum cost."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError, did_you_mean
from .intervals import clopper_pearson
from .nearest import nearest_threshold
from .scores import SortedScores
from .words import far_name

FARS = (1e-1, 1e-2, 1e-3, 1e-4)
FarRule = Literal["strict", "nearest"]


@dataclass(frozen=True)
class OperatingPoint:
    """What one threshold does, the one that a target FAR leads to.

    Attributes:
        target_far: The FAR asked for.
        allowed: How many false accepts that allows.
        impostors: How many impostor pairs there are.
        genuine: How many genuine pairs there are.
        rule: `strict`: the largest TAR whose FAR does not exceed the target. `nearest`: the corner
            of the ROC whose FAR is nearest to it, which may exceed it.
        tar: The true accept rate; None where there is no number.
        interval: 95 % Clopper-Pearson interval for the TAR at this threshold, or None.
        threshold: The score that a pair must reach, or None.
        far: The FAR it really has, or None.
        far_interval: 95 % Clopper-Pearson interval for that FAR, or None.
        false_accepts: How many false accepts it makes, or None.
        reason: Why there is no number; empty where there is one.
        warning: What makes a number that was given all the same worth little; empty if nothing.
    """

    target_far: float
    allowed: int
    impostors: int
    genuine: int
    rule: FarRule = "strict"
    tar: float | None = None
    interval: tuple[float, float] | None = None
    threshold: float | None = None
    far: float | None = None
    far_interval: tuple[float, float] | None = None
    false_accepts: int | None = None
    reason: str = ""
    warning: str = ""

    @property
    def fnmr(self) -> float | None:
        """The false non-match rate, 1 - TAR, or None."""
        return None if self.tar is None else 1 - self.tar


@dataclass(frozen=True)
class DetectionCost:
    """The least that wrong decisions cost, over all thresholds.

    Attributes:
        value: The normalised cost; 1 is what deciding without looking costs.
        threshold: The highest threshold that costs no more.
        p_target: How probable a genuine pair is taken to be.
        c_miss: What a false reject costs.
        c_fa: What a false accept costs.
    """

    value: float
    threshold: float
    p_target: float
    c_miss: float
    c_fa: float


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


def tar_at_far(scores: SortedScores, far: float, rule: FarRule = "strict") -> OperatingPoint:
    """The TAR at a target FAR.

    `strict` takes the largest TAR whose FAR is at or below `far`; never interpolated, and no number
    where not one false accept is allowed. Tied scores stand or fall together: the threshold accepts
    every score at or above it. Of all thresholds that reach that TAR the highest is taken, so no
    false accept is made for nothing. `nearest` is insightface's rule (`nearest.nearest_threshold`);
    it always gives a number, with a warning where `strict` would give none.

    Args:
        scores: Sorted genuine and impostor scores.
        far: The target, in (0, 1].
        rule: `strict` or `nearest`.

    Raises:
        FacekdError: The target is not in (0, 1], or an unknown rule.
    """
    if not 0 < far <= 1:
        raise FacekdError(f"a target FAR of {far} is not in (0, 1]; give a fraction such as 1e-3.")
    if rule not in get_args(FarRule):
        raise FacekdError(f"unknown FAR rule {rule!r}; {did_you_mean(rule, get_args(FarRule))}")
    impostors, genuine = scores.impostors, len(scores.genuine)
    allowed = false_accepts_allowed(far, impostors)
    lack = ""
    if not allowed:
        least = math.ceil(1 / far)
        lack = (
            f"not enough impostors: {impostors:,} pairs, FAR {far_name(far)} needs at least "
            f"{least:,}"
        )
    if rule == "nearest":
        threshold = nearest_threshold(scores, far)
    elif allowed:
        threshold = _strict_threshold(scores, allowed)
    else:
        return OperatingPoint(far, allowed, impostors, genuine, rule, reason=lack)
    accepted = int(scores.true_accepts(threshold))
    false_accepts = int(scores.false_accepts(threshold))
    return OperatingPoint(
        target_far=far,
        allowed=allowed,
        impostors=impostors,
        genuine=genuine,
        rule=rule,
        tar=accepted / genuine,
        interval=clopper_pearson(accepted, genuine),
        threshold=threshold,
        far=false_accepts / impostors,
        far_interval=clopper_pearson(false_accepts, impostors),
        false_accepts=false_accepts,
        warning=lack,
    )


def _strict_threshold(scores: SortedScores, allowed: int) -> float:
    """The lowest genuine score that lets in no more than the allowed false accepts."""
    first = 0
    if allowed < scores.impostors:
        too_low = scores.nth_highest_impostor(allowed)  # accepting this one is one too many
        first = len(scores.genuine) - scores.true_accepts(too_low, strictly=True)
    return float(scores.genuine[first]) if first < len(scores.genuine) else scores.above_all()


def roc_curve(scores: SortedScores) -> RocCurve:
    """Every corner of the ROC: the points just above and at each distinct genuine score.

    Between two genuine scores the curve is level, so these points tell all of it; where impostors
    tie with a genuine score it runs straight between the two points, as the area counts it.
    """
    levels = np.unique(scores.genuine)[::-1]
    far, tar = (
        np.stack([accepts(levels, strictly=True), accepts(levels)], axis=1).ravel()
        for accepts in (scores.false_accepts, scores.true_accepts)
    )
    return RocCurve(
        far=np.concatenate([[0], far, [scores.impostors]]) / scores.impostors,
        tar=np.concatenate([[0], tar, [len(scores.genuine)]]) / len(scores.genuine),
    )


def auc(scores: SortedScores) -> float:
    """The area under the ROC: P(genuine > impostor) + P(genuine = impostor) / 2, counted exactly.

    The Mann-Whitney statistic over all g * i pairs of one genuine and one impostor score.
    """
    lost = _total(scores.false_accepts(scores.genuine, strictly=True))
    not_won = _total(scores.false_accepts(scores.genuine))
    twice_all = 2 * len(scores.genuine) * scores.impostors
    return (twice_all - lost - not_won) / twice_all


def _total(counts: NDArray[np.int64]) -> int:
    """Their sum, which for all pairs of some million images no 64-bit integer holds."""
    return (int((counts >> 32).sum()) << 32) + int((counts & 0xFFFFFFFF).sum())


def equal_error_rate(scores: SortedScores) -> float:
    """The rate at which the ROC polyline meets FAR = 1 - TAR, linear between its points."""
    curve = roc_curve(scores)
    return crossing(curve.far[::-1], 1 - curve.tar[::-1])


def crossing(far: NDArray[np.float64], fnmr: NDArray[np.float64]) -> float:
    """The rate at which a falling FAR meets a rising FNMR, straight between the points."""
    excess = fnmr - far
    after = int(np.argmax(excess >= 0))
    before = after - 1
    share = -excess[before] / (excess[after] - excess[before])
    return float(far[before] + share * (far[after] - far[before]))


def min_dcf(
    scores: SortedScores, p_target: float = 0.01, c_miss: float = 1.0, c_fa: float = 1.0
) -> DetectionCost:
    """The minimum of NIST's normalised detection cost function.

    C(t) = c_miss P_miss(t) p_target + c_fa P_fa(t) (1 - p_target), divided by
    min(c_miss p_target, c_fa (1 - p_target)), the better one of rejecting and of accepting all
    (NIST Speaker Recognition Evaluation plan of 2010, section 3, "Performance measure").
    A threshold that is no genuine score costs at least what the next higher genuine score does, so
    the genuine scores and accepting nothing are all there is to try.

    Args:
        scores: Sorted genuine and impostor scores.
        p_target: How probable a genuine pair is, in (0, 1).
        c_miss: What a false reject costs, above 0.
        c_fa: What a false accept costs, above 0.

    Raises:
        FacekdError: A probability or cost outside its range.
    """
    if not (0 < p_target < 1 and 0 < c_miss < math.inf and 0 < c_fa < math.inf):
        raise FacekdError(
            f"a detection cost with p_target {p_target}, c_miss {c_miss} and c_fa {c_fa} has no "
            "meaning; give a probability between 0 and 1 and costs above 0."
        )
    falling = np.append(np.unique(scores.genuine), scores.above_all())[::-1]
    misses = 1 - scores.true_accepts(falling) / len(scores.genuine)
    false_accepts = scores.false_accepts(falling) / scores.impostors
    all_missed, all_let_in = c_miss * p_target, c_fa * (1 - p_target)
    costs = (all_missed * misses + all_let_in * false_accepts) / min(all_missed, all_let_in)
    best = int(np.argmin(costs))
    return DetectionCost(float(costs[best]), float(falling[best]), p_target, c_miss, c_fa)
