"""One method trained with several seeds, against another with the same: paired by pair and seed."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ..errors import FacekdError
from .compare import mcnemar
from .intervals import CONFIDENCE, Interval


@dataclass(frozen=True)
class SeedDifference:
    """Second method minus first, over pairs that all their networks have judged.

    Attributes:
        mean: Of the seeds' differences in the share of rightly judged pairs.
        interval: 95 %, over pairs: what other pairs would do to these networks' mean.
        per_seed: float64 (seeds,), each seed's difference: what another seed does.
        p_values: Exact McNemar test of each seed, two-sided.
    """

    mean: float
    interval: Interval
    per_seed: NDArray[np.float64]
    p_values: tuple[float, ...]


def difference_over_seeds(
    first: NDArray[np.bool_], second: NDArray[np.bool_], confidence: float = CONFIDENCE
) -> SeedDifference:
    """The mean difference over seeds and pairs, and its interval over the pairs.

    With d_i in [-1, 1] the mean over seeds of pair i's gain, and one more pair that is gained and
    one that is lost with every seed: m = sum d_i / (n + 2), m +- z sqrt((v - m^2) / (n + 2)),
    v = (sum d_i^2 + 2) / (n + 2), cut to [-1, 1]. With one seed this is Bonett and Price's interval
    (`intervals.paired_difference`); the seeds of one pair are not taken for independent trials.

    Args:
        first: (seeds, pairs), whether the first method's network judged the pair rightly.
        second: The same of the second.
        confidence: Nominal coverage.

    Raises:
        FacekdError: Unequal shapes, or nothing to compare.
    """
    if first.shape != second.shape or first.ndim != 2 or first.size == 0:
        raise FacekdError(
            f"outcomes of shapes {first.shape} and {second.shape} cannot be compared pair by pair; "
            "score both methods with the same seeds on the same pairs."
        )
    gain = second.astype(np.int8) - first.astype(np.int8)
    each = gain.mean(axis=0)
    trials = len(each) + 2
    middle = float(each.sum()) / trials
    variance = (float((each**2).sum()) + 2) / trials - middle**2
    half = float(ndtri((1 + confidence) / 2)) * math.sqrt(variance / trials)
    return SeedDifference(
        mean=float(gain.mean()),
        interval=(max(-1.0, middle - half), min(1.0, middle + half)),
        per_seed=gain.mean(axis=1),
        p_values=tuple(mcnemar(int((g == 1).sum()), int((g == -1).sum())) for g in gain),
    )
