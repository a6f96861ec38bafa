import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.data_tools import nearest_match
from facekd.data_tools.nearest_match import (
    equal_digests,
    near_embeddings,
    near_hashes,
    nearest_embeddings,
)
from facekd.data_tools.thresholds import SEARCHED_BITS
from facekd.errors import FacekdError


def flipped_bits(rng, hashes, most):
    """Copies of the hashes with up to `most` bits changed."""
    bits = np.unpackbits(hashes.view(np.uint8), axis=1)
    for row in bits:
        row[rng.choice(256, rng.integers(0, most + 1), replace=False)] ^= 1
    return np.packbits(bits, axis=1).view(np.uint64)


def brute_hashes(a, b, bits):
    """Each one's nearest, first of equals, pair by pair: {(i, j): distance}."""
    far = 1000
    table = np.full((len(a), len(b)), far)
    for i, one in enumerate(a):
        for j, other in enumerate(b):
            counts = [(int(x) ^ int(y)).bit_count() for x, y in zip(one, other, strict=True)]
            if counts[0] <= SEARCHED_BITS and sum(counts) <= bits:
                table[i, j] = sum(counts)
    return best_both_ways(table, far)


def best_both_ways(table, far):
    pairs = {}
    for i, row in enumerate(table):
        if row.min() < far:
            pairs[i, int(row.argmin())] = row.min()
    for j, column in enumerate(table.T):
        if column.min() < far:
            pairs[int(column.argmin()), j] = column.min()
    return pairs


def as_dict(matches):
    keys = list(zip(matches.a.tolist(), matches.b.tolist(), strict=True))
    assert keys == sorted(set(keys))
    return dict(zip(keys, matches.values.tolist(), strict=True))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 25), st.sampled_from([0, 20, 60])
)
def test_hash_search_is_the_search_of_all_pairs(seed, n, m, bits):
    rng = np.random.default_rng(seed)
    seeds = rng.integers(0, 2**64, (4, 4), dtype=np.uint64)
    a = flipped_bits(rng, seeds[rng.integers(0, 4, n)], 40)
    b = flipped_bits(rng, seeds[rng.integers(0, 4, m)], 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nearest_match, "_HASHES", 7)
        assert_same_hash_matches(a, b, bits)


def assert_same_hash_matches(a, b, bits):
    found, expected = as_dict(near_hashes(a, b, bits)), brute_hashes(a, b, bits)
    assert found == expected


def test_hash_search_tells_how_far_it_is():
    told = []
    rng = np.random.default_rng(0)
    a, b = (rng.integers(0, 2**64, (n, 4), dtype=np.uint64) for n in (30, 50))
    near_hashes(a, b, 10, told.append)
    assert sum(told) == 1500


@pytest.mark.parametrize(("n", "m"), [(30, 11), (11, 30)])
def test_embedding_search_is_the_search_of_all_pairs(monkeypatch, n, m):
    monkeypatch.setattr(nearest_match, "_ROWS", 8)
    rng = np.random.default_rng(n)
    a, b = (rng.normal(size=(k, 3)).astype(np.float32) * 5 for k in (n, m))
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b)]
    cosines = unit[0] @ unit[1].T
    expected = best_both_ways(np.where(cosines >= 0.9, -cosines, 1), 1)
    found = as_dict(near_embeddings(a, b, 0.9))
    assert found.keys() == expected.keys()
    assert all(found[key] == pytest.approx(-expected[key], abs=1e-6) for key in expected)
    skip = rng.integers(0, m, n)
    values, rows = nearest_embeddings(a, b, skip)
    cosines[np.arange(n), skip] = -2
    assert (rows == cosines.argmax(axis=1)).all()
    assert values == pytest.approx(cosines.max(axis=1), abs=1e-6)


def test_equal_digests_finds_every_copy():
    a = np.array([b"x", b"q", b"y", b"x"], dtype="S32")
    b = np.array([b"y", b"x", b"x", b"z"], dtype="S32")
    assert as_dict(equal_digests(a, b)).keys() == {(0, 1), (3, 1), (2, 0), (0, 2)}
    assert not len(equal_digests(a, b[3:]))


def test_embeddings_that_are_none_are_refused():
    good, bad = np.ones((3, 4), np.float32), np.ones((3, 4), np.float32)
    bad[1] = 0
    with pytest.raises(FacekdError, match="image 1 has norm 0"):
        near_embeddings(good, bad, 0.5)
    bad[1] = np.nan
    with pytest.raises(FacekdError, match="norm nan"):
        near_embeddings(bad, good, 0.5)
    with pytest.raises(FacekdError, match="4 and of 5 numbers"):
        near_embeddings(good, np.ones((3, 5), np.float32), 0.5)
