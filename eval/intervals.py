"""How sure a rate is, from the number of trials behind it."""

import math

from scipy.special import betaincinv, ndtri

CONFIDENCE = 0.95

Interval = tuple[float, float]


def clopper_pearson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """The exact (Clopper-Pearson) interval for a binomial rate; never narrower than it says.

    Lower end: the a/2 quantile of Beta(k, n-k+1); upper end: the 1-a/2 quantile of Beta(k+1, n-k).
    Trials are taken as independent; pairs share people, so the truth is wider.
    """
    tail = (1 - confidence) / 2
    k, n = successes, trials
    low = float(betaincinv(k, n - k + 1, tail)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0
    return low, high


def wilson(successes: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Wilson's (1927) score interval for a binomial rate; right on average, not at worst.

    With p = k/n: (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n).
    """
    z2 = float(ndtri((1 + confidence) / 2)) ** 2
    n, p = trials, successes / trials
    middle, half = p + z2 / (2 * n), math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2)))
    scale = 1 + z2 / n
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)


def paired_difference(
    gained: int, lost: int, trials: int, confidence: float = CONFIDENCE
) -> Interval:
    """Bonett and Price's (2012) adjusted Wald interval for a difference of paired proportions.

    With p1 = (gained + 1) / (n + 2) and p2 = (lost + 1) / (n + 2):
    (p1 - p2) +- z sqrt((p1 + p2 - (p1 - p2)^2) / (n + 2)), cut to [-1, 1]. The added half counts
    keep it from collapsing to a point where the two never disagree.

    Args:
        gained: Trials where only the second succeeds.
        lost: Trials where only the first succeeds.
        trials: All trials n, agreements included.
        confidence: Nominal coverage.

    Returns:
        The ends of the interval for (second - first).
    """
    p1, p2 = (gained + 1) / (trials + 2), (lost + 1) / (trials + 2)
    middle = p1 - p2
    half = float(ndtri((1 + confidence) / 2)) * math.sqrt((p1 + p2 - middle**2) / (trials + 2))
    return max(-1.0, middle - half), min(1.0, middle + half)
