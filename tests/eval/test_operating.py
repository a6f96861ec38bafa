from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import beta
from sklearn.metrics import roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from facekd.errors import FacekdError
from facekd.eval.operating import (
    auc,
    equal_error_rate,
    false_accepts_allowed,
    min_dcf,
    roc_curve,
    tar_at_far,
)
from facekd.eval.scores import SortedScores, sort_scores

FARS = [1.0, 0.5, 0.3, 0.1, 0.05, 0.01, 1e-3]


def made(seed, pairs=400, decimals=None):
    rng = np.random.default_rng(seed)
    same = rng.random(pairs) < 0.4
    scores = rng.normal(size=pairs) + 1.2 * same
    return (scores if decimals is None else scores.round(decimals)), same


@st.composite
def tied_scores(draw):
    """Few levels and few pairs: ties and empty corners all the time."""
    pairs = draw(st.integers(2, 40))
    levels = draw(hnp.arrays(np.int64, pairs, elements=st.integers(-4, 4)))
    same = draw(hnp.arrays(np.bool_, pairs))
    same[:2] = True, False
    return levels / 8, same


def brute_force_tar(scores, same, far):
    """The definition, in plain Python."""
    genuine = [s for s, g in zip(scores, same, strict=True) if g]
    impostor = [s for s, g in zip(scores, same, strict=True) if not g]
    best = 0.0
    for threshold in [*scores, max(scores) + 1]:
        accepted = sum(s >= threshold for s in impostor)
        if accepted / len(impostor) <= far:
            best = max(best, sum(s >= threshold for s in genuine) / len(genuine))
    return best


@given(tied_scores(), st.sampled_from(FARS))
def test_tar_is_the_largest_whose_far_is_at_most_the_target(case, far):
    scores, same = case
    point = tar_at_far(sort_scores(scores, same), far)
    impostors = np.count_nonzero(~same)
    if far * impostors < 1:
        assert point.tar is None
        assert f"{impostors} pairs" in point.reason
        return
    assert point.tar == brute_force_tar(scores.tolist(), same.tolist(), far)
    accepted = scores >= point.threshold
    assert point.tar == np.mean(accepted[same])
    assert point.false_accepts == np.count_nonzero(accepted & ~same)
    assert point.far == point.false_accepts / impostors <= far
    # no higher threshold does as well
    higher = scores[scores > point.threshold]
    assert all(np.mean(scores[same] >= t) < point.tar for t in higher) or point.tar == 0


@pytest.mark.parametrize("decimals", [None, 1, 0])
def test_curve_auc_and_tar_agree_with_sklearn(decimals):
    scores, same = made(1, decimals=decimals)
    ranked = sort_scores(scores, same)
    far, tar, _ = sklearn_roc_curve(same, scores, drop_intermediate=False)
    ours = roc_curve(ranked)
    theirs = set(zip(far.tolist(), tar.tolist(), strict=True))
    assert set(zip(ours.far.tolist(), ours.tar.tolist(), strict=True)) <= theirs
    assert auc(ranked) == pytest.approx(roc_auc_score(same, scores), abs=1e-12)
    assert np.trapezoid(ours.tar, ours.far) == pytest.approx(auc(ranked), abs=1e-12)
    for target in FARS[:-1]:
        assert tar_at_far(ranked, target).tar == tar[far <= target].max()


def brute_force_eer(scores, same):
    """Walk the polyline of all operating points and solve the crossing segment."""
    levels = sorted(set(scores.tolist()), reverse=True)
    points = [(0.0, 0.0)]
    for t in levels:
        accepted = scores >= t
        points.append((accepted[~same].mean(), accepted[same].mean()))
    for (x0, y0), (x1, y1) in pairwise(points):
        if x1 + y1 >= 1:
            return x0 + (1 - x0 - y0) / (x1 + y1 - x0 - y0) * (x1 - x0)
    raise AssertionError


@given(tied_scores())
def test_equal_error_rate_is_where_the_curve_meets_the_diagonal(case):
    assert equal_error_rate(sort_scores(*case)) == pytest.approx(brute_force_eer(*case), abs=1e-12)


@pytest.mark.parametrize(("shift", "eer", "area"), [(10, 0.0, 1.0), (-10, 1.0, 0.0)])
def test_perfect_and_reversed_separation(shift, eer, area):
    same = np.arange(100) % 2 == 0
    scores = np.linspace(0, 1, 100) + shift * same
    ranked = sort_scores(scores, same)
    assert (equal_error_rate(ranked), auc(ranked)) == (eer, area)


def numbers(ranked):
    """Every number but the thresholds, which are scores, and those."""
    points = [
        tar_at_far(ranked, far, rule) for far in (*FARS, 1e-6) for rule in ("strict", "nearest")
    ]
    curve, cost = roc_curve(ranked), min_dcf(ranked, p_target=0.3)
    thresholds = [p.threshold for p in points if p.tar] + [cost.threshold] * (cost.value < 1)
    rest = [replace(point, threshold=None) for point in points]
    rest += [auc(ranked), equal_error_rate(ranked), cost.value]
    return [*rest, curve.far.tolist(), curve.tar.tolist()], np.array(thresholds)


MAPS = [np.exp, np.arctan, lambda s: 7 * s - 3, lambda s: (s + 0.1) ** 3, np.float32]


@given(tied_scores(), st.sampled_from(MAPS), st.randoms(use_true_random=False))
def test_nothing_but_the_order_of_scores_counts(case, rising, random):
    scores, same = case
    order = list(range(len(scores)))
    random.shuffle(order)
    there, thresholds = numbers(sort_scores(scores, same))
    back, mapped = numbers(sort_scores(rising(scores)[order], same[order]))
    assert there == back
    assert rising(thresholds) == pytest.approx(mapped)


@given(tied_scores(), st.lists(st.booleans(), min_size=40, max_size=40))
def test_counted_impostors_give_the_same_numbers(case, apart):
    """Equal scores listed once with a count, here and there more than once."""
    ranked = sort_scores(*case)
    impostor = ranked.impostor
    starts = np.flatnonzero(np.append(True, np.diff(impostor) > 0) | apart[: len(impostor)])
    counts = np.diff(np.append(starts, len(impostor)))
    counted, here = SortedScores(ranked.genuine, impostor[starts], counts), ranked
    (a, thresholds), (b, same_thresholds) = numbers(here), numbers(counted)
    assert a == b
    assert thresholds.tolist() == same_thresholds.tolist()


def test_more_pairs_of_pairs_than_a_64_bit_number_holds():
    """5 genuine x 4e18 impostor pairs; by hand 1/4 of the impostors tie and 1/2 lie below."""
    counts = np.array([2 * 10**18, 10**18, 10**18])
    ranked = SortedScores(np.full(5, 0.5), np.array([0.1, 0.5, 0.9]), counts)
    assert auc(ranked) == 0.5 + 0.25 / 2


def brute_force_dcf(scores, same, p_target, c_miss, c_fa):
    """Every threshold, in plain Python; accepting all is the lowest score, nothing is inf."""
    costs = []
    for threshold in [*scores, float("inf")]:
        miss = [s < threshold for s, g in zip(scores, same, strict=True) if g]
        let_in = [s >= threshold for s, g in zip(scores, same, strict=True) if not g]
        p_miss, p_fa = sum(miss) / len(miss), sum(let_in) / len(let_in)
        costs.append(c_miss * p_miss * p_target + c_fa * p_fa * (1 - p_target))
    return min(costs) / min(c_miss * p_target, c_fa * (1 - p_target))


@given(
    tied_scores(),
    st.sampled_from([0.01, 0.05, 0.5, 0.9]),
    st.sampled_from([(1.0, 1.0), (10.0, 1.0), (1.0, 3.0)]),
)
def test_minimum_detection_cost_is_the_least_of_all_thresholds(case, p_target, prices):
    scores, same = case
    got = min_dcf(sort_scores(scores, same), p_target, *prices)
    assert got.value == pytest.approx(
        brute_force_dcf(scores.tolist(), same.tolist(), p_target, *prices), abs=1e-12
    )
    assert got.value <= 1 + 1e-12
    miss = np.mean(scores[same] < got.threshold)
    let_in = np.mean(scores[~same] >= got.threshold)
    cost = prices[0] * p_target * miss + prices[1] * (1 - p_target) * let_in
    least = min(prices[0] * p_target, prices[1] * (1 - p_target))
    assert got.value == pytest.approx(cost / least)


@pytest.mark.parametrize(
    "terms", [(0.0,), (1.0,), (-0.1,), (float("nan"),), (0.1, 0.0), (0.1, 1.0, float("inf"))]
)
def test_a_cost_without_meaning_is_an_error(terms):
    with pytest.raises(FacekdError, match="no meaning"):
        min_dcf(sort_scores([0.1, 0.2], [True, False]), *terms)


def test_intervals_are_scipys_clopper_pearson():
    scores, same = made(2, pairs=1000)
    point = tar_at_far(sort_scores(scores, same), 0.01)
    assert point.fnmr == pytest.approx(1 - point.tar)
    n = int(same.sum())
    sides = [(point.interval, round(point.tar * n), n)]
    sides += [(point.far_interval, point.false_accepts, 1000 - n)]
    for got, k, trials in sides:
        theirs = beta.ppf([0.025, 0.975], [k, k + 1], [trials - k + 1, trials - k])
        assert got == pytest.approx(tuple(theirs), rel=1e-12)


def test_lfw_sized_sets_allow_three_false_accepts_at_one_in_a_thousand():
    scores, same = np.linspace(0, 1, 6000), np.arange(6000) % 2 == 0
    ranked = sort_scores(scores, same)
    point = tar_at_far(ranked, 1e-3)
    assert (point.allowed, point.impostors) == (3, 3000)
    none = tar_at_far(ranked, 1e-4)
    assert (none.tar, none.fnmr, none.far_interval) == (None, None, None)
    assert none.reason == "not enough impostors: 3,000 pairs, FAR 1e-4 needs at least 10,000"


@given(st.integers(1, 20_000_000), st.floats(1e-9, 1.0))
def test_allowed_false_accepts_are_free_of_rounding(impostors, far):
    k = false_accepts_allowed(far, impostors)
    assert k / impostors <= far < (k + 1) / impostors


@pytest.mark.parametrize(("far", "impostors", "allowed"), [(0.29, 100, 29), (1e-6, 15638932, 15)])
def test_allowed_false_accepts_by_hand(far, impostors, allowed):
    assert false_accepts_allowed(far, impostors) == allowed


@pytest.mark.parametrize("far", [0.0, -0.1, 1.5, float("nan")])
def test_a_far_that_is_no_rate_is_an_error(far):
    with pytest.raises(FacekdError, match="target FAR"):
        tar_at_far(sort_scores([0.1, 0.2], [True, False]), far)
