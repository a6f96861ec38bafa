import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facekd.errors import FacekdError
from facekd.eval.operating import OperatingPoint, tar_at_far
from facekd.eval.quality import pair_quality, reject_curve
from facekd.eval.scores import sort_scores
from facekd.eval.transfer import SetThreshold


def slow_curve(scores, quality, threshold):
    """For every half percent: reject as many of the worst as whole ties allow, count the rest."""
    genuine = list(zip(quality, scores, strict=True))
    points = []
    for step in range(191):
        best = []
        for least in [*sorted({q for q, _ in genuine})]:
            kept = [s for q, s in genuine if q >= least]
            rejected = len(genuine) - len(kept)
            if 200 * rejected <= step * len(genuine):
                best = [rejected / len(genuine), sum(s < threshold for s in kept) / len(kept)]
        if best not in points:
            points.append(best)
    return points


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 5)), min_size=1, max_size=30),
    st.integers(-3, 3),
)
def test_the_curve_is_what_a_loop_counts(pairs, threshold):
    scores = [score / 4 for score, _ in pairs]
    quality = [float(q) for _, q in pairs]
    got = reject_curve(scores, quality, SetThreshold(0.1, threshold / 4, "elsewhere"))
    expected = slow_curve(scores, quality, threshold / 4)
    assert np.stack([got.rejected, got.fnmr], axis=1) == pytest.approx(np.array(expected))


def made(seed, pairs=4000):
    rng = np.random.default_rng(seed)
    same = rng.random(pairs) < 0.5
    quality = rng.random(pairs)
    scores = rng.normal(size=pairs) + (1 + 3 * quality) * same
    return scores, same, quality


def test_a_quality_that_knows_the_failures_makes_the_curve_fall():
    scores, same, quality = made(1)
    point = tar_at_far(sort_scores(scores, same), 0.01)
    curve = reject_curve(scores[same], quality[same], point)
    assert (curve.target_far, curve.threshold) == (0.01, point.threshold)
    assert curve.rejected[0] == 0
    assert curve.fnmr[0] == pytest.approx(1 - point.tar)
    assert len(curve.rejected) == 191
    assert curve.rejected[-1] == pytest.approx(0.95, abs=1e-3)
    assert curve.fnmr[100] < 0.7 * curve.fnmr[0]
    chance = np.random.default_rng(2).permutation(quality)
    assert abs(reject_curve(scores[same], chance[same], point).fnmr[100] - curve.fnmr[0]) < 0.05


def test_only_the_order_of_qualities_counts():
    scores, same, quality = made(3)
    point = tar_at_far(sort_scores(scores, same), 0.01)
    scores, quality = scores[same], quality[same]
    order = np.random.default_rng(4).permutation(len(scores))
    a = reject_curve(scores, quality, point)
    b = reject_curve(scores[order], np.exp(9 * quality[order]), point)
    assert np.array_equal(a.rejected, b.rejected)
    assert np.array_equal(a.fnmr, b.fnmr)


def test_equal_qualities_are_rejected_together_or_not_at_all():
    scores, same, _ = made(5, pairs=100)
    point = SetThreshold(0.1, 1.0, "elsewhere")
    curve = reject_curve(scores[same], np.ones(same.sum()), point)
    assert curve.rejected.tolist() == [0.0]
    assert curve.fnmr.tolist() == [np.mean(scores[same] < 1.0)]


def test_a_pair_is_as_good_as_its_worse_face():
    norms = np.array([3.0, 1.0, 2.0], dtype=np.float32)
    got = pair_quality(norms, np.array([0, 0, 2]), np.array([1, 2, 2]))
    assert got.tolist() == [1.0, 2.0, 2.0]


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        ([1.0, float("nan"), 2.0], r"quality of genuine pair 1 is nan \(1 of 3"),
        ([1.0, 2.0], "2 qualities for 3 genuine pairs"),
    ],
)
def test_qualities_that_are_no_numbers_are_an_error(quality, words):
    point = SetThreshold(0.1, 0.2, "elsewhere")
    with pytest.raises(FacekdError, match=words):
        reject_curve([0.1, 0.2, 0.3], quality, point)


def test_a_point_without_threshold_is_an_error():
    point = OperatingPoint(1e-6, 0, 10, 10, reason="not enough impostors")
    with pytest.raises(FacekdError, match="FAR 1e-06 has no threshold"):
        reject_curve([0.1, 0.2], [1.0, 2.0], point)
