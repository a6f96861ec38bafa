import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from facekd.errors import FacekdError
from facekd.eval.scores import SortedScores, check_scores, sort_scores

SAME = np.array([True, True, False])


@pytest.mark.parametrize(
    ("scores", "same", "words"),
    [
        ([0.1, np.nan, 0.3], SAME, "pair 1 is nan"),
        ([0.1, np.inf, -np.inf], SAME, "2 of 3 scores"),
        ([0.1, 0.2], SAME, "one score a pair"),
        ([[0.1, 0.2, 0.3]], SAME, "one score a pair"),
        ([0.1, 0.2, 0.3], [True] * 3, "none of the 3 pairs is impostor"),
        ([0.1, 0.2, 0.3], [False] * 3, "none of the 3 pairs is genuine"),
        ([], [], "none of the 0 pairs is genuine"),
    ],
)
def test_scores_no_number_can_be_read_from(scores, same, words):
    with pytest.raises(FacekdError, match=words):
        check_scores(np.array(scores), same)


def test_counts_at_a_threshold_take_ties_in():
    ranked = sort_scores([0.5, 0.5, 0.5, 0.2, 0.5], [True, True, False, False, True])
    assert ranked.true_accepts(0.5) == 3
    assert ranked.false_accepts(0.5) == 1
    assert ranked.true_accepts(np.nextafter(0.5, 1)) == 0
    assert ranked.false_accepts(ranked.above_all()) == 0


def plain_counts(values, threshold):
    return [sum(v >= threshold for v in values), sum(v > threshold for v in values)]


@given(
    hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(-1, 1, width=32)),
    st.floats(-1.5, 1.5),
    st.integers(-2, 2),
)
def test_a_finer_threshold_counts_coarser_scores_exactly(values, threshold, ulps):
    """At, between and right beside float32 scores; the scores are never copied to float64."""
    beside = float(values[0])
    for _ in range(abs(ulps)):
        beside = float(np.nextafter(beside, np.copysign(np.inf, ulps)))
    ranked = SortedScores(np.sort(values), np.sort(values))
    for t in (threshold, beside):
        for accepts in (ranked.true_accepts, ranked.false_accepts):
            got = [accepts(t), accepts(t, strictly=True)]
            assert got == plain_counts(values.tolist(), t)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(1, 4)), min_size=1, max_size=8))
def test_counted_impostors_stand_for_as_many_pairs(listed):
    """Equal scores may be listed more than once."""
    listed.sort()
    scores, counts = np.array(listed, dtype=np.int64).T
    ranked = SortedScores(np.array([0.5]), scores / 4, counts)
    pairs = sorted(np.repeat(scores / 4, counts).tolist(), reverse=True)
    assert ranked.impostors == len(pairs)
    assert [ranked.nth_highest_impostor(n) for n in range(len(pairs))] == pairs
    levels = np.arange(-7, 8) / 8
    for strictly in (False, True):
        got = ranked.false_accepts(levels, strictly=strictly)
        assert got.tolist() == [plain_counts(pairs, t)[strictly] for t in levels]
    for n in (-1, len(pairs)):
        with pytest.raises(FacekdError, match="no impostor"):
            ranked.nth_highest_impostor(n)


@pytest.mark.parametrize("counts", [[1], [1, 0], [2, -1], [[1, 1]]])
def test_counts_that_cannot_be_are_an_error(counts):
    with pytest.raises(FacekdError, match="count of at least one"):
        SortedScores(np.array([0.5]), np.array([0.1, 0.2]), np.array(counts))
