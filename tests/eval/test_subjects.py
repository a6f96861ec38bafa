import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facekd.errors import FacekdError
from facekd.eval.subjects import infer_subjects


@st.composite
def joined(draw):
    items = draw(st.integers(1, 12))
    item = st.integers(0, items - 1)
    return items, draw(st.lists(st.tuples(item, item), max_size=15))


def slow_subjects(items, pairs):
    """Join sets, one pair at a time, then number them by their first items."""
    subject = list(range(items))
    for a, b in pairs:
        old, new = subject[a], subject[b]
        subject = [new if s == old else s for s in subject]
    seen = {}
    return [seen.setdefault(s, len(seen)) for s in subject]


@given(joined())
def test_genuine_pairs_join_people_and_nothing_else_does(case):
    items, pairs = case
    left, right = np.array(pairs, dtype=np.int32).reshape(-1, 2).T
    got = infer_subjects(items, left, right, np.ones(len(pairs), dtype=np.bool_))
    assert got.dtype == np.int32
    assert got.tolist() == slow_subjects(items, pairs)


@given(joined(), st.randoms(use_true_random=False))
def test_the_order_of_the_pairs_plays_no_part(case, random):
    items, pairs = case
    shuffled = [pair if random.random() < 0.5 else pair[::-1] for pair in pairs]
    random.shuffle(shuffled)
    results = []
    for some in (pairs, shuffled):
        left, right = np.array(some, dtype=np.int64).reshape(-1, 2).T
        results.append(infer_subjects(items, left, right, [True] * len(some)))
    assert np.array_equal(*results)


def test_impostor_pairs_join_nobody():
    got = infer_subjects(5, [0, 1, 3], [1, 3, 4], [True, False, True])
    assert got.tolist() == [0, 0, 1, 2, 2]


def test_an_impostor_pair_within_one_person_is_named():
    left, right = [0, 1, 0, 3, 2], [1, 2, 2, 4, 0]
    with pytest.raises(FacekdError, match=r"pair 2 is an impostor.* 0 and 2 .*\(2 such pairs\)"):
        infer_subjects(5, left, right, [True, True, False, True, False])
