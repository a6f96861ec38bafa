from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
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
    roc_curve,
    tar_at_far,
)
from facekd.eval.scores import sort_scores

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


@given(tied_scores(), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_nothing_but_the_order_of_scores_counts(case, random):
    scores, same = case
    order = list(range(len(scores)))
    random.shuffle(order)
    changed = np.exp(5 * scores)[order]
    a, b = sort_scores(scores, same), sort_scores(changed, same[order])
    assert auc(a) == auc(b)
    assert equal_error_rate(a) == equal_error_rate(b)
    for far in FARS:
        p, q = tar_at_far(a, far), tar_at_far(b, far)
        assert (p.tar, p.far, p.false_accepts, p.interval) == (
            q.tar,
            q.far,
            q.false_accepts,
            q.interval,
        )
        if p.tar:
            assert q.threshold == pytest.approx(np.exp(5 * p.threshold))


def test_interval_is_scipys_clopper_pearson():
    scores, same = made(2, pairs=1000)
    point = tar_at_far(sort_scores(scores, same), 0.01)
    n = int(same.sum())
    k = round(point.tar * n)
    assert point.interval == pytest.approx(
        (beta.ppf(0.025, k, n - k + 1), beta.ppf(0.975, k + 1, n - k))
    )


def test_lfw_sized_sets_allow_three_false_accepts_at_one_in_a_thousand():
    scores, same = np.linspace(0, 1, 6000), np.arange(6000) % 2 == 0
    ranked = sort_scores(scores, same)
    point = tar_at_far(ranked, 1e-3)
    assert (point.allowed, point.impostors) == (3, 3000)
    none = tar_at_far(ranked, 1e-4)
    assert none.tar is None
    assert none.reason == "not enough impostors: 3000 pairs, FAR 0.0001 needs at least 10000"


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
