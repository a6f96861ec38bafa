"""Numbers of a classifier against slow counting, scikit-learn, and the definition of intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtri
from sklearn.metrics import confusion_matrix, top_k_accuracy_score

from facekd.errors import FacekdError
from facekd.eval.classification import classify
from facekd.eval.intervals import wilson

C = 8
NAMES = [f"class {k}" for k in range(C)]


def drawn(n=200, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(C, size=n)
    scores = rng.normal(size=(n, C)).astype(np.float32)
    scores[np.arange(n), labels] += 1.0
    return scores, labels


def slow_rank(row, label):
    """By sorting a list of (-score, number)."""
    order = sorted(range(len(row)), key=lambda k: (-row[k], k))
    return order.index(label)


def test_against_slow_counting_and_scikit_learn():
    scores, labels = drawn()
    found = classify(scores, labels, NAMES)
    ranks = [slow_rank(row.tolist(), int(label)) for row, label in zip(scores, labels, strict=True)]
    assert found.rank.tolist() == ranks
    assert found.top1.hits == sum(rank == 0 for rank in ranks)
    assert found.top5.value == pytest.approx(
        top_k_accuracy_score(labels, scores, k=5, labels=range(C)), abs=1e-15
    )
    assert np.array_equal(found.confusion, confusion_matrix(labels, found.named, labels=range(C)))
    for k, rate in enumerate(found.per_class):
        own = [rank for rank, label in zip(ranks, labels, strict=True) if label == k]
        assert (rate.hits, rate.images) == (own.count(0), len(own))
    values = [rate.hits / rate.images for rate in found.per_class]
    assert found.mean_per_class == pytest.approx(sum(values) / C)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_ties_go_to_the_first_class(seed, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(levels, size=(30, C)).astype(np.float32)
    labels = rng.integers(C, size=30)
    found = classify(scores, labels, NAMES)
    ranks = [slow_rank(row.tolist(), int(label)) for row, label in zip(scores, labels, strict=True)]
    assert found.rank.tolist() == ranks
    assert np.array_equal(found.correct, found.named == labels)


def test_a_classifier_that_says_nothing_has_the_first_class_right():
    labels = np.array([0, 1, 2, 0])
    found = classify(np.zeros((4, C)), labels, NAMES)
    assert found.top1.value == 0.5
    assert found.per_class[7].value is None
    assert found.per_class[7].interval is None


def test_few_classes_have_no_top5():
    assert classify(np.eye(5), np.arange(5), NAMES[:5]).top5 is None


@pytest.mark.parametrize(("hits", "trials"), [(0, 10), (3, 10), (10, 10), (173, 200), (1, 1)])
def test_wilson_solves_the_score_equation(hits, trials):
    """Its ends p0 are where |hits/n - p0| = z sqrt(p0 (1 - p0) / n)."""
    z, p = ndtri(0.975), hits / trials

    def off(p0):
        return (p - p0) ** 2 - z**2 * p0 * (1 - p0) / trials

    low, high = wilson(hits, trials)
    assert low == pytest.approx(brentq(off, 0, min(p, 1 - 1e-9)) if p > 0 else 0.0, abs=1e-9)
    assert high == pytest.approx(brentq(off, max(p, 1e-9), 1) if p < 1 else 1.0, abs=1e-9)
    if hits == 0:
        assert high == pytest.approx(z**2 / (trials + z**2))


@pytest.mark.parametrize(
    ("scores", "labels", "words"),
    [
        (np.zeros((3, C)), np.array([0, 1]), "not those of 2 images"),
        (np.zeros((2, 3)), np.array([0, 1]), "and 8 classes"),
        (np.zeros((0, C)), np.array([], int), "not those of 0 images"),
        (np.zeros((2, C)), np.array([0, C]), "not among the 8"),
        (np.zeros((2, C)), np.array([-1, 0]), "not among the 8"),
        (np.array([[0.0] * C, [np.nan] * C]), np.array([0, 1]), "NaN.* for image 1"),
    ],
)
def test_bad_scores(scores, labels, words):
    with pytest.raises(FacekdError, match=words):
        classify(scores, labels, NAMES)
