"""insightface's operating point: the ROC's corner whose FAR is nearest to the target, either side.

It is here to compare with published tables. Its FAR can lie above the target, and where false
accepts are few far from it: `operating.tar_at_far` is strict unless asked otherwise.
"""

import numpy as np

from .scores import SortedScores

_REACH = 1024


def nearest_threshold(scores: SortedScores, far: float) -> float:
    """The threshold that insightface's `recognition/_evaluation_/ijb/ijb_11.py` would stop at.

    The candidates are the corners of the ROC that scikit-learn's `roc_curve` keeps: accepting
    nothing, the highest and the lowest score, and each level between whose step (impostors and
    genuine pairs gained) differs from the next level's. The one whose FAR is nearest wins; of
    equally near ones the one of the lowest threshold.

    Only levels around the target are looked at, more of them until no other can be nearer: 16
    million scores are never walked through.

    Args:
        scores: Sorted genuine and impostor scores.
        far: The target, in (0, 1].
    """
    outranking = min(int(far * scores.impostors), scores.impostors - 1)
    place, reach = scores.place_of_impostor(outranking), _REACH
    while (threshold := _nearest_between(scores, far, place - reach, place + reach)) is None:
        reach *= 8
    return threshold


def _nearest_between(scores: SortedScores, far: float, start: int, stop: int) -> float | None:
    """The same among the levels of impostor[start:stop]; None if one outside may be as near.

    These impostors enclose the target: levels below let in at least what the lowest of them does,
    which is too much. Levels above let in at most what the highest does; where that is still too
    much, it is nearer than any below it. So the two ends stand for all that is outside.
    """
    window, genuine = scores.impostor[max(start, 0) : stop], scores.genuine
    bottom, top = start <= 0, stop >= len(scores.impostor)
    first = 0 if bottom else len(genuine) - scores.true_accepts(window[0])
    last = len(genuine) if top else len(genuine) - scores.true_accepts(window[-1], strictly=True)
    levels = np.unique(np.concatenate([window, genuine[first:last]]))
    false_accepts, true_accepts = scores.false_accepts(levels), scores.true_accepts(levels)
    corner = np.ones(len(levels), dtype=np.bool_)
    corner[1:-1] = (np.diff(false_accepts, 2) != 0) | (np.diff(true_accepts, 2) != 0)
    away = np.where(corner, np.abs(false_accepts / scores.impostors - far), np.inf)
    if top:
        levels, away = np.append(levels, scores.above_all()), np.append(away, far)
    best = np.argmin(away)
    ends = ([] if bottom else [away[0]]) + ([] if top else [away[-1]])
    return None if any(away[best] >= end for end in ends) else float(levels[best])
