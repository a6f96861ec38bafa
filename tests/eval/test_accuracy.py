import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.data_tools.pairs import file_order_folds
from facekd.errors import FacekdError
from facekd.eval.accuracy import best_threshold, fold_accuracy
from facekd.eval.pair_scores import cosine_scores

FIXTURES = Path(__file__).parents[1] / "fixtures"
CASES = json.loads((FIXTURES / "insightface_verification.json").read_text())["cases"]


def made_embeddings(case):
    spec = importlib.util.spec_from_file_location(
        "make_insightface_verification", FIXTURES / "make_insightface_verification.py"
    )
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script.embeddings(case["seed"], case["pairs"], case["share"])


def scores_of(case):
    embeddings, same = made_embeddings(case)
    rows = np.arange(0, len(embeddings), 2)
    return cosine_scores(embeddings, rows, rows + 1), same


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case["pairs"]))
def test_insightface_protocol_equals_insightfaces_own_code(case):
    scores, same = scores_of(case)
    got = fold_accuracy(scores, same, file_order_folds(len(same)), "insightface")
    np.testing.assert_allclose(got.per_fold, case["accuracy_per_fold"], rtol=0, atol=1e-12)
    assert got.mean == pytest.approx(np.mean(case["accuracy_per_fold"]), abs=1e-12)
    assert got.fold_std == pytest.approx(np.std(case["accuracy_per_fold"]), abs=1e-12)


def test_grid_and_exact_search_agree_within_half_a_percent():
    scores, same = scores_of(CASES[0])
    folds = file_order_folds(len(same))
    grid = fold_accuracy(scores, same, folds, "insightface")
    exact = fold_accuracy(scores, same, folds)
    assert exact.mean == pytest.approx(grid.mean, abs=5e-3)


def brute_force(scores, same, folds):
    """Try every training score, in plain Python; the middle one of the best."""
    right = [False] * len(scores)
    for fold in sorted(set(folds)):
        seen = [i for i in range(len(scores)) if folds[i] != fold]
        top = max(scores[i] for i in seen)
        tries = [float("inf"), *sorted({scores[i] for i in seen}, reverse=True)]
        hits = [sum((scores[i] >= t) == same[i] for i in seen) for t in tries]
        best = [t for t, h in zip(tries, hits, strict=True) if h == max(hits)]
        threshold = best[(len(best) - 1) // 2]
        if threshold == float("inf"):
            threshold = float(np.nextafter(top, np.inf))
        for i in range(len(scores)):
            if folds[i] == fold:
                right[i] = (scores[i] >= threshold) == same[i]
    return right


@given(st.integers(0, 2**32 - 1), st.integers(12, 40), st.sampled_from([4, 16, 1000]))
@settings(max_examples=60, deadline=None)
def test_exact_search_equals_brute_force_and_sees_order_only(seed, pairs, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels, pairs) / levels
    same = np.arange(pairs) % 2 == 0
    folds = rng.permutation(file_order_folds(pairs, 3))
    if any(len(set(same[folds != f])) == 1 for f in range(3)):
        return
    got = fold_accuracy(scores, same, folds)
    assert got.correct.tolist() == brute_force(scores.tolist(), same.tolist(), folds.tolist())
    assert got.per_fold.tolist() == [got.correct[folds == f].mean() for f in range(3)]
    mapped = fold_accuracy(np.arctan(7 * scores), same, folds)
    assert (mapped.correct == got.correct).all()
    order = rng.permutation(pairs)
    shuffled = fold_accuracy(scores[order], same[order], folds[order])
    assert (shuffled.correct == got.correct[order]).all()


def test_the_middle_of_equally_good_thresholds_is_taken():
    same = np.array([True, True, False, False, True, False])
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1])
    # best: accept two (0.8), or all genuine at the price of two impostors is worse; by hand 5 of 6
    assert best_threshold(scores, same) == 0.8
    # reversed answers: accepting nothing is best, and said by a threshold above all scores
    assert best_threshold(np.array([0.9, 0.1]), np.array([False, True])) > 0.9


def test_float32_scores_and_perfect_separation():
    same = np.arange(100) % 2 == 0
    scores = np.where(same, 0.7, 0.1).astype(np.float32)
    got = fold_accuracy(scores, same, file_order_folds(100))
    assert (got.mean, got.fold_std) == (1.0, 0.0)
    assert got.interval[0] == pytest.approx(0.025 ** (1 / 100))
    assert got.interval[1] == 1.0


@pytest.mark.parametrize(
    ("scores", "same", "folds", "words"),
    [
        ([0.1, 0.2, 0.3, 0.4], [1, 0, 1, 0], [0, 0, 0, 0], "at least two folds"),
        ([0.1, 0.2, 0.3, 0.4], [1, 0, 1, 0], [0, 1], "give every pair a fold"),
        ([0.1, 0.2, 0.3, 0.4], [1, 0, 1, 1], [0, 0, 1, 1], "outside fold 0"),
        ([0.1, np.nan, 0.3, 0.4], [1, 0, 1, 0], [0, 0, 1, 1], "nan"),
    ],
)
def test_bad_input(scores, same, folds, words):
    with pytest.raises(FacekdError, match=words):
        fold_accuracy(np.array(scores), np.array(same, dtype=bool), np.array(folds))


def test_an_unknown_protocol_suggests_the_near_one():
    with pytest.raises(FacekdError, match="did you mean 'insightface'"):
        fold_accuracy([0.1, 0.2], [True, False], [0, 1], "insigthface")
