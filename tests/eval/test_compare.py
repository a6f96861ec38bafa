from math import comb, sqrt

import numpy as np
import pytest
from scipy.stats import binomtest

from facekd.errors import FacekdError
from facekd.eval.compare import paired
from facekd.eval.trials import Trials
from facekd.eval.verification import compare, verify


def outcomes(both, gained, lost, neither):
    first = [True] * both + [False] * gained + [True] * lost + [False] * neither
    second = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return np.array(first), np.array(second)


def test_difference_and_exact_mcnemar_by_hand():
    got = paired(*outcomes(80, 9, 2, 9))
    assert (got.gained, got.lost, got.trials) == (9, 2, 100)
    assert got.difference == pytest.approx(0.07)
    assert got.p_value == pytest.approx(2 * sum(comb(11, k) for k in range(3)) / 2**11)
    p1, p2 = 10 / 102, 3 / 102
    half = 1.959963984540054 * sqrt((p1 + p2 - (p1 - p2) ** 2) / 102)
    assert got.interval == pytest.approx((p1 - p2 - half, p1 - p2 + half))


def test_models_that_never_disagree_still_leave_doubt():
    got = paired(*outcomes(50, 0, 0, 0))
    assert (got.difference, got.p_value) == (0.0, 1.0)
    assert got.interval[0] < 0 < got.interval[1]


def test_swapping_the_models_turns_the_sign():
    a, b = outcomes(80, 9, 2, 9)
    there, back = paired(a, b), paired(b, a)
    assert there.difference == -back.difference
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]))
    assert there.p_value == back.p_value


@pytest.mark.parametrize(
    ("gained", "lost"), [(0, 1), (1, 0), (5, 5), (6, 5), (0, 40), (300, 410), (40_000, 39_000)]
)
def test_mcnemar_is_scipys_binomial_test(gained, lost):
    theirs = binomtest(gained, gained + lost).pvalue
    got = paired(*outcomes(3, gained, lost, 0)).p_value
    assert got == pytest.approx(theirs, rel=1e-11, abs=0)


def test_unequal_trials_are_an_error():
    with pytest.raises(FacekdError, match="same pairs"):
        paired([True, False], [True])


def test_two_models_on_the_same_pairs():
    rng = np.random.default_rng(3)
    same, folds = np.arange(2000) % 2 == 0, np.arange(2000) // 200
    weak = rng.normal(size=2000) + same
    strong = rng.normal(size=2000) + 2 * same
    a, b = (verify(scores, Trials(same, folds)) for scores in (weak, strong))
    got = compare(a, b)
    assert got.accuracy.difference == pytest.approx(b.accuracy.mean - a.accuracy.mean)
    assert [far for far, _ in got.tars] == [1e-1, 1e-2, 1e-3]  # 1e-4 has no operating point
    for far, difference in got.tars:
        assert difference.trials == 1000
        assert difference.difference == pytest.approx(b.point(far).tar - a.point(far).tar)
    with pytest.raises(FacekdError, match="same pairs"):
        compare(a, verify(strong[::-1], Trials(same[::-1], folds)))
