import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.errors import FacekdError
from facekd.eval import pair_scores
from facekd.eval.pair_scores import cosine_scores, unit_rows


@pytest.fixture
def small_blocks(monkeypatch):
    """Every list is a long one, and is cut into many blocks and pieces."""
    monkeypatch.setattr(pair_scores, "MANY_PAIRS", 1)
    monkeypatch.setattr(pair_scores, "PRODUCTS", 30)
    monkeypatch.setattr(pair_scores, "LOOKUPS", 16)
    monkeypatch.setattr(pair_scores, "GATHERED", 50)


def made(rows=25, dim=12, dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(rows, dim)) * rng.uniform(0.1, 30, (rows, 1))).astype(dtype)


def plain(embeddings, left, right):
    """Cosines, one at a time, by their definition."""
    values = []
    for i, j in zip(left, right, strict=True):
        a, b = embeddings[i].astype(float), embeddings[j].astype(float)
        values.append(a @ b / np.sqrt((a @ a) * (b @ b)))
    return np.array(values)


def test_cosines_against_plain_arithmetic():
    embeddings = made(6, 4)
    left, right = np.array([0, 2, 5]), np.array([1, 3, 5])
    scores = cosine_scores(embeddings, left, right)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, plain(embeddings, left, right), rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("lefts", [7, 18])  # the left side is the smaller one, or the larger
@pytest.mark.parametrize("order", ["by left", "any"])
def test_products_equal_plain_arithmetic(small_blocks, dtype, lefts, order):
    embeddings = made(dtype=dtype)
    rows = np.random.default_rng(1).permutation(25)  # the two sides' rows lie among each other
    left = np.repeat(rows[:lefts], 25 - lefts).astype(np.int32)
    right = np.tile(rows[lefts:], lefts).astype(np.int32)
    if order == "any":
        shuffled = np.random.default_rng(2).permutation(len(left))
        left, right = left[shuffled], right[shuffled]
    scores = cosine_scores(embeddings, left, right)
    assert scores.dtype == np.float32  # so these are products
    np.testing.assert_allclose(scores, plain(embeddings, left, right), rtol=0, atol=1e-7)


def test_a_sparse_list_is_gathered_however_long(small_blocks, monkeypatch):
    monkeypatch.setattr(pair_scores, "PRODUCTS_PER_GATHER", 10)
    embeddings = made()
    left, right = np.arange(0, 24), np.arange(1, 25)
    scores = cosine_scores(embeddings, left, right)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, plain(embeddings, left, right), rtol=0, atol=1e-15)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 1 << 20]))
def test_order_and_sides_of_the_pairs_do_not_matter(seed, many):
    rng = np.random.default_rng(seed)
    embeddings = made(seed=seed)
    left, right = rng.integers(0, 25, (2, 200))  # with duplicates, and pairs of a row with itself
    order = rng.permutation(200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pair_scores, "MANY_PAIRS", many)
        patch.setattr(pair_scores, "PRODUCTS", 64)
        scores = cosine_scores(embeddings, left, right)
        again = cosine_scores(embeddings, right[order], left[order])
    assert scores.dtype == (np.float32 if many == 1 else np.float64)
    np.testing.assert_allclose(again, scores[order], rtol=0, atol=1e-7)
    np.testing.assert_allclose(scores, plain(embeddings, left, right), rtol=0, atol=1e-7)
    assert np.abs(scores).max() <= 1


@pytest.mark.parametrize("many", [1, 1 << 20])
@pytest.mark.parametrize("content", [0.0, np.nan, np.inf])
def test_pairs_of_missing_rows_score_minus_one(monkeypatch, many, content):
    monkeypatch.setattr(pair_scores, "MANY_PAIRS", many)
    embeddings = made(6)
    embeddings[2] = content
    left, right = np.array([0, 2, 3, 2, 4]), np.array([1, 0, 2, 2, 5])
    scores = cosine_scores(embeddings, left, right, missing=np.arange(6) == 2)
    there = [0, 4]
    np.testing.assert_array_equal(scores[[1, 2, 3]], -1.0)
    expected = plain(embeddings, left[there], right[there])
    np.testing.assert_allclose(scores[there], expected, rtol=0, atol=1e-7)


def test_every_row_missing():
    scores = cosine_scores(made(2), np.array([0, 1]), np.array([1, 0]), missing=np.ones(2, bool))
    np.testing.assert_array_equal(scores, [-1, -1])


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_embedding_without_direction_is_an_error(value):
    embeddings = np.ones((4, 3), dtype=np.float32)
    embeddings[2] = value
    with pytest.raises(FacekdError, match="image 2 has norm"):
        cosine_scores(embeddings, np.array([0, 2]), np.array([1, 3]))
    with pytest.raises(FacekdError, match="template 2 has norm"):
        unit_rows(embeddings, "template")


def test_rows_that_are_not_there_are_an_error():
    with pytest.raises(FacekdError, match="rows 1 to 4 of 4"):
        cosine_scores(np.ones((4, 3)), np.array([0, 2]), np.array([1, 4]))
    with pytest.raises(FacekdError, match="rows -1 to 1 of 4"):
        cosine_scores(np.ones((4, 3)), np.array([0, 2]), np.array([1, -1]))


def test_more_left_than_right_rows_are_an_error():
    with pytest.raises(FacekdError, match="2 left and 1 right rows"):
        cosine_scores(np.ones((4, 3)), np.array([0, 2]), np.array([1]))


@pytest.mark.parametrize(
    ("given_dtype", "dtype", "error"),
    [(np.float16, np.float32, 1e-6), (np.float32, np.float32, 1e-6), (float, float, 1e-15)],
)
def test_unit_rows_keep_their_precision(given_dtype, dtype, error):
    unit = unit_rows(made(dtype=given_dtype))
    assert unit.dtype == dtype
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1, rtol=0, atol=error)
