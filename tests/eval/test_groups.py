import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from facekd.errors import FacekdError
from facekd.eval.groups import group_reports
from facekd.eval.operating import tar_at_far
from facekd.eval.scores import sort_scores
from facekd.eval.transfer import SetThreshold


def made(seed=0, pairs=3000):
    rng = np.random.default_rng(seed)
    same = rng.random(pairs) < 0.5
    groups = rng.choice(["b", "a", "c", ""], pairs)
    scores = rng.normal(size=pairs) + 2 * same + 0.5 * (groups == "c")
    return scores, same, groups


@st.composite
def tied_groups(draw):
    pairs = draw(st.integers(4, 40))
    rows = st.tuples(st.integers(-3, 3), st.booleans(), st.sampled_from(["x", "y", "zz", ""]))
    scores, same, groups = zip(*draw(st.lists(rows, min_size=pairs, max_size=pairs)), strict=True)
    same, groups = [True, False, *same[2:]], ["x", "y", *groups[2:]]
    return np.array(scores) / 4, np.array(same), np.array(groups), draw(st.integers(-4, 4)) / 4


@given(tied_groups())
def test_rates_are_what_a_loop_counts(case):
    scores, same, groups, threshold = case
    (report,) = group_reports(scores, same, groups, [SetThreshold(0.1, threshold, "elsewhere")])
    assert [rate.group for rate in report.rates] == sorted(set(groups.tolist()) - {""})
    assert report.outside == groups.tolist().count("")
    for rate in report.rates:
        rejected = accepted = genuine = impostors = 0
        for score, answer, group in zip(scores, same, groups, strict=True):
            if group == rate.group and answer:
                genuine, rejected = genuine + 1, rejected + (score < threshold)
            elif group == rate.group:
                impostors, accepted = impostors + 1, accepted + (score >= threshold)
        assert (rate.genuine, rate.impostors) == (genuine, impostors)
        for value, interval, hits, trials in (
            (rate.fnmr, rate.fnmr_interval, rejected, genuine),
            (rate.fmr, rate.fmr_interval, accepted, impostors),
        ):
            if trials:
                exact = binomtest(int(hits), trials).proportion_ci(method="exact")
                assert value == hits / trials
                assert interval == pytest.approx((exact.low, exact.high))
            else:
                assert (value, interval) == (None, None)


def test_one_threshold_for_all_and_ratios_of_worst_to_best():
    scores, same, groups = made()
    ranked = sort_scores(scores, same)
    points = [tar_at_far(ranked, far) for far in (0.1, 0.01, 1e-4)]
    assert points[2].threshold is None
    reports = group_reports(scores, same, groups, points)
    assert [r.target_far for r in reports] == [0.1, 0.01]
    for report, point in zip(reports, points, strict=False):
        assert (report.threshold, report.threshold_from) == (point.threshold, "this set")
        fmrs = {rate.group: rate.fmr for rate in report.rates}
        fnmrs = [rate.fnmr for rate in report.rates]
        assert max(fmrs, key=fmrs.get) == "c"  # its impostors score higher
        assert report.fmr_ratio == max(fmrs.values()) / min(fmrs.values())
        assert report.fnmr_ratio == max(fnmrs) / min(fnmrs)
        inside = groups != ""
        accepted = sum(rate.fmr * rate.impostors for rate in report.rates)
        assert accepted == pytest.approx(
            np.count_nonzero(scores[inside & ~same] >= point.threshold)
        )


def test_there_is_no_ratio_to_a_rate_of_zero_or_to_nothing():
    scores = [0.9, 0.1, 0.9, 0.5, 0.5]
    same = [True, False, True, False, True]
    groups = ["a", "a", "b", "b", "c"]
    (report,) = group_reports(scores, same, groups, [SetThreshold(0.1, 0.5, "elsewhere")])
    assert [rate.fmr for rate in report.rates] == [0.0, 1.0, None]
    assert report.fmr_ratio is None  # the best is 0
    (report,) = group_reports(
        scores, same, ["a", "a", "c", "", "c"], [SetThreshold(0.1, 0.5, "elsewhere")]
    )
    assert [rate.fmr for rate in report.rates] == [0.0, None]
    assert report.fmr_ratio is None  # one only is known


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (["", "", ""], "name no group"),
        (["a", "", "a"], "name only the group 'a'"),
        (["a", "b"], "2 group labels for 3 pairs"),
    ],
)
def test_fewer_than_two_groups_are_an_error(groups, words):
    with pytest.raises(FacekdError, match=words):
        group_reports([0.1, 0.2, 0.3], [True, False, True], groups, [])


def test_a_threshold_between_two_single_precision_scores_is_not_rounded_to_one_of_them():
    scores = np.array([0.7, 0.7, 0.9, 0.1], dtype=np.float32)  # float32(0.7) < 0.7
    threshold = [SetThreshold(0.1, 0.7, "elsewhere")]
    (report,) = group_reports(scores, [True, False, True, False], ["x", "x", "y", "y"], threshold)
    assert [(rate.fnmr, rate.fmr) for rate in report.rates] == [(1, 0), (0, 0)]
