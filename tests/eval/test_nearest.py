import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_curve as sklearn_roc_curve

from facekd.errors import FacekdError
from facekd.eval import nearest
from facekd.eval.operating import tar_at_far
from facekd.eval.scores import SortedScores, sort_scores

FIXTURES = Path(__file__).parents[1] / "fixtures"
RESULTS = json.loads((FIXTURES / "ijb11_nearest.json").read_text())["results"]


@pytest.fixture(scope="module")
def cases():
    spec = importlib.util.spec_from_file_location(
        "make_ijb11_nearest", FIXTURES / "make_ijb11_nearest.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return [script.scores(*case) for case in script.CASES]


@pytest.mark.parametrize("reach", [1, nearest._REACH, 10**6])
def test_equals_insightfaces_own_code(cases, reach, monkeypatch):
    monkeypatch.setattr(nearest, "_REACH", reach)
    for case, target, far, tar in RESULTS:
        point = tar_at_far(sort_scores(*cases[case]), target, "nearest")
        got = (point.far, point.tar)
        assert got == pytest.approx((far, tar), rel=0, abs=1e-9), (case, target)


def by_sklearn(scores, same, target):
    """The rule as published: the curve turned round, the first of the nearest points."""
    far, tar, thresholds = (a[::-1] for a in sklearn_roc_curve(same, scores))
    chosen = min(zip(abs(far - target), range(len(far)), strict=True))[1]
    return far[chosen], tar[chosen], thresholds[chosen]


@st.composite
def stretches(draw):
    """Long runs of equal steps, which scikit-learn drops, and levels that many pairs share."""
    scores, same, level = [], [], 0
    for _ in range(draw(st.integers(1, 8))):
        rise = draw(st.integers(0, 1))
        every = draw(st.sampled_from([1, 2, 7, 10**9, 10**9]))  # how-maniest pair is genuine
        for pair in range(1, 1 + draw(st.sampled_from([1, 2, 5, 40]))):
            scores.append(level)
            same.append(pair % every == 0)
            level += rise
        level += draw(st.integers(0, 1))
    ends = [draw(st.integers(0, level)), draw(st.integers(0, level))]
    return np.array([*scores, *ends]) / 64, np.array([*same, True, False])


@given(stretches(), st.sampled_from([1e-6, 0.05, 0.1, 0.25, 1 / 3, 0.5, 0.8, 1.0]))
def test_equals_sklearns_curve_wherever_the_search_starts_small(case, target):
    scores, same = case
    far, tar, threshold = by_sklearn(scores, same, target)
    ranked = sort_scores(scores, same)
    counted = SortedScores(ranked.genuine, *np.unique(ranked.impostor, return_counts=True))
    for form in (ranked, counted):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(nearest, "_REACH", 1)
            point = tar_at_far(form, target, "nearest")
        assert (point.far, point.tar) == (far, tar)
        assert point.threshold == (ranked.above_all() if threshold == np.inf else threshold)
        assert point.false_accepts == np.count_nonzero(scores[~same] >= point.threshold)


def test_few_impostors_give_a_number_with_a_warning():
    """As old tables do; the strict rule gives none, and says why in the same words."""
    ranked = sort_scores([0.9, 0.1, 0.2], [True, False, False])
    point, strict = tar_at_far(ranked, 1e-3, "nearest"), tar_at_far(ranked, 1e-3)
    assert (point.rule, point.tar, point.far, point.reason) == ("nearest", 1.0, 0.0, "")
    assert (strict.rule, strict.tar, strict.warning) == ("strict", None, "")
    assert point.warning == strict.reason
    assert "needs at least 1,000" in strict.reason


def test_an_unknown_rule_suggests_the_near_one():
    with pytest.raises(FacekdError, match="did you mean 'nearest'"):
        tar_at_far(sort_scores([0.1, 0.2], [True, False]), 0.1, "neares")
