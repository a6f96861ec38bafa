import numpy as np
import pytest
from scipy.stats import beta, binomtest, norm

from facekd.eval.intervals import clopper_pearson, paired_difference

RATES = [
    *((k, n) for n in (1, 2, 20, 6000) for k in {0, 1, n // 3, n - 1, n}),
    *((k, 15_638_932) for k in (0, 1, 15, 1563, 15_638_931)),
    *((k, 500_000_000_000) for k in (0, 7, 5_000)),
]


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
@pytest.mark.parametrize(("k", "n"), RATES)
def test_clopper_pearson_is_scipys(k, n, confidence):
    tail = (1 - confidence) / 2
    low = beta.ppf(tail, k, n - k + 1) if k else 0.0
    high = beta.ppf(1 - tail, k + 1, n - k) if k < n else 1.0
    assert clopper_pearson(k, n, confidence) == pytest.approx((low, high), rel=1e-12, abs=0)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (1, 5), (3, 40), (40, 40), (970, 3000)])
def test_clopper_pearson_is_what_the_exact_binomial_test_does_not_reject(k, n):
    theirs = binomtest(k, n).proportion_ci(method="exact")
    assert clopper_pearson(k, n) == pytest.approx((theirs.low, theirs.high), rel=1e-9, abs=1e-12)


def test_clopper_pearson_by_hand_at_the_edges():
    assert clopper_pearson(0, 20) == (0.0, pytest.approx(1 - 0.025 ** (1 / 20)))
    assert clopper_pearson(20, 20) == (pytest.approx(0.025 ** (1 / 20)), 1.0)


@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.999])
def test_paired_difference_with_scipys_normal_quantile(confidence):
    p1, p2, n = 10 / 102, 3 / 102, 100
    spread = np.sqrt((p1 + p2 - (p1 - p2) ** 2) / (n + 2))
    theirs = norm.interval(confidence, loc=p1 - p2, scale=spread)
    assert paired_difference(9, 2, n, confidence) == pytest.approx(theirs, rel=1e-12)


def test_the_paired_interval_covers_what_it_promises():
    """5,000 draws from a known table: coverage within simulation error of 95 %."""
    rng = np.random.default_rng(0)
    p_gained, p_lost, trials = 0.06, 0.03, 300
    draws = rng.multinomial(trials, [p_gained, p_lost, 1 - p_gained - p_lost], size=5000)
    held = [
        low <= p_gained - p_lost <= high
        for low, high in (
            paired_difference(gained, lost, trials) for gained, lost, _ in draws.tolist()
        )
    ]
    assert 0.94 < np.mean(held) < 0.97
