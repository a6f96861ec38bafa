from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.data_tools.drawn_pairs import from_labels, most_pairs
from facekd.errors import FacekdError


def test_pairs_from_labels_are_balanced_different_and_folds_share_no_identity():
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(30) * 7, 6))
    pairs = from_labels(range(len(labels)), labels, 400, 5, seed=3)
    assert len(pairs) == 400
    assert (pairs.same == (labels[pairs.left] == labels[pairs.right])).all()
    assert (pairs.left != pairs.right).all()
    assert len({frozenset(p) for p in zip(pairs.left, pairs.right, strict=True)}) == 400
    assert (pairs.subjects == labels // 7).all()
    seen = []
    for fold in range(5):
        inside = pairs.folds == fold
        assert pairs.same[inside].sum() == 40 == (~pairs.same[inside]).sum()
        seen.append({*labels[pairs.left[inside]], *labels[pairs.right[inside]]})
    assert sum(map(len, seen)) == len(set.union(*seen)) == 30


def test_the_same_seed_draws_the_same_pairs():
    labels = np.repeat(np.arange(20), 5)
    a, b, c = (from_labels(range(100), labels, 100, 5, seed=s) for s in (1, 1, 2))
    assert (a.left == b.left).all()
    assert (a.right == b.right).all()
    assert (a.left != c.left).any()


@pytest.mark.parametrize(
    ("labels", "pairs", "words"),
    [
        (np.repeat(np.arange(10), 2), 40, "fold 0 .* genuine pairs wanted, 5 there are"),
        (np.repeat(np.arange(2), 20), 40, "fold 0 .* impostor pairs wanted, 0 there are"),
        (np.repeat(np.arange(10), 2), 41, "41 pairs cannot be halved over 2 folds"),
    ],
)
def test_too_few_images_or_identities(labels, pairs, words):
    with pytest.raises(FacekdError, match=words):
        from_labels(range(len(labels)), labels, pairs, 2)
    with pytest.raises(FacekdError, match="labels for 3 images"):
        from_labels(range(3), labels, 40, 2)


@settings(max_examples=60, deadline=None)
@given(
    labels=st.lists(st.integers(0, 7), min_size=2, max_size=40),
    folds=st.integers(1, 4),
    seed=st.integers(0, 5),
)
def test_the_most_pairs_there_are_can_be_drawn_and_no_more(labels, folds, seed):
    most = most_pairs(labels, folds, seed)
    assert most % (2 * folds) == 0
    images = range(len(labels))
    with pytest.raises(
        FacekdError, match=rf"pairs wanted, \d+ there are; ask for {most} pairs at most"
    ):
        from_labels(images, labels, most + 2 * folds, folds, seed)
    if not most:
        return
    made = from_labels(images, labels, most, folds, seed)
    label = np.asarray(labels)
    assert (made.same == (label[made.left] == label[made.right])).all()
    assert len({frozenset(p) for p in zip(made.left, made.right, strict=True)}) == most
    people = [
        set(label[[*made.left[made.folds == f], *made.right[made.folds == f]]])
        for f in range(folds)
    ]
    assert sum(map(len, people)) == len(set().union(*people))


def test_with_one_fold_every_pair_there_is_can_be_drawn():
    labels = [3, 1, 3, 1, 1, 2]
    every = set(map(frozenset, combinations(range(6), 2)))
    genuine = {pair for pair in every if len({labels[i] for i in pair}) == 1}
    assert most_pairs(labels, 1) == 2 * len(genuine)
    seen = set()
    for seed in range(20):
        made = from_labels(range(6), labels, 8, 1, seed)
        drawn = {frozenset(p) for p in zip(made.left.tolist(), made.right.tolist(), strict=True)}
        assert genuine < drawn
        seen |= drawn
    assert seen == every
