"""The cosine of many pairs of embeddings: gathered pair by pair, or looked up in all products."""

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .scores import Array

# Lists this long are scored by products of all left with all right rows, where that is cheaper.
# Measured on 2 cores of an AMD EPYC with 512 dimensions: two rows gathered and multiplied take
# 0.9 us a pair, one entry of a blocked product 10 ns (1 thread: 20 ns), and looking it up 20 ns a
# pair. 32 entries a pair is the cautious side of that ratio.
MANY_PAIRS = 1 << 20
PRODUCTS_PER_GATHER = 32

PRODUCTS = 1 << 23  # entries of a block of products: 64 MiB of float64
LOOKUPS = 1 << 18  # pairs looked up at a time, so that their indices stay in the cache
GATHERED = 1 << 19  # numbers gathered at a time on each side: 4 MiB of float64


def unit_rows(embeddings: Array, what: str = "image") -> Array:
    """Each embedding divided by its norm.

    Args:
        embeddings: (n, d), any norm but zero.
        what: What one row stands for, for the error.

    Returns:
        (n, d), float64 for float64 and float32 for float32.

    Raises:
        FacekdError: An embedding is not finite or has norm zero.
    """
    norms = _norms(embeddings, None, what)[:, None]
    unit: Array = embeddings / norms.astype(np.result_type(embeddings, np.float32))
    return unit


def cosine_scores(
    embeddings: Array,
    left: Array,
    right: Array,
    *,
    missing: NDArray[np.bool_] | None = None,
    what: str = "image",
) -> Array:
    """The cosine of each pair's two embeddings.

    Args:
        embeddings: float (n, d), any norm but zero.
        left: int (m,), rows of the first images.
        right: int (m,), rows of the second images.
        missing: bool (n,), rows without an embedding (failures to acquire); their content is
            ignored, and each of their pairs scores exactly -1.
        what: What one row stands for, for errors.

    Returns:
        (m,) in [-1, 1], worked out in double precision: float64, or rounded to float32 for more
        than a million pairs that are dense among their left and right rows.

    Raises:
        FacekdError: An embedding is not finite or has norm zero, or a row is not there.
    """
    if embeddings.ndim != 2 or len(left) != len(right):
        raise FacekdError(
            f"embeddings of shape {embeddings.shape}, {len(left)} left and {len(right)} right "
            "rows; expected (n, d) and one row of each per pair."
        )
    for rows in (left, right):
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(embeddings):
            raise FacekdError(
                f"the pairs name rows {rows.min()} to {rows.max()} of {len(embeddings)} embeddings."
            )
    norms = _norms(embeddings, missing, what)
    if missing is None or not missing.any():
        return _scores(embeddings, norms, left, right)
    there = ~(missing[left] | missing[right])
    found = _scores(embeddings, norms, left[there], right[there])
    scores = np.full(len(left), -1.0, dtype=found.dtype)
    scores[there] = found
    return scores


def _norms(embeddings: Array, missing: NDArray[np.bool_] | None, what: str) -> NDArray[np.float64]:
    """Checked norms, float64 (n,), of all rows but the missing."""
    norms: NDArray[np.float64] = np.sqrt(
        np.einsum("nd,nd->n", embeddings, embeddings, dtype=np.float64)
    )
    wrong = ~(np.isfinite(norms) & (norms > 0))
    bad = np.flatnonzero(wrong if missing is None else wrong & ~missing)
    if len(bad):
        raise FacekdError(
            f"the embedding of {what} {bad[0]} has norm {norms[bad[0]]} ({len(bad)} of "
            f"{len(norms)} are zero or not finite); look for broken weights or images."
        )
    return norms


def _scores(embeddings: Array, norms: NDArray[np.float64], left: Array, right: Array) -> Array:
    """Cosines, in the way that costs less."""
    if len(left) >= MANY_PAIRS:
        lefts, rights = _used(left, len(norms)), _used(right, len(norms))
        if len(lefts) * len(rights) <= PRODUCTS_PER_GATHER * len(left):
            if len(lefts) > len(rights):
                left, right, lefts, rights = right, left, rights, lefts
            return _by_products(embeddings, norms, left, right, lefts, rights)
    return _by_gathers(embeddings, norms, left, right)


def _used(rows: Array, count: int) -> NDArray[np.intp]:
    """The different values of `rows`, rising; all are below `count`."""
    used = np.zeros(count, dtype=np.bool_)
    used[rows] = True
    return np.flatnonzero(used)


def _positions(rows: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Each row's position in `rows`, (count,)."""
    positions = np.zeros(count, dtype=np.intp)
    positions[rows] = np.arange(len(rows))
    return positions


def _by_gathers(
    embeddings: Array, norms: NDArray[np.float64], left: Array, right: Array
) -> NDArray[np.float64]:
    """One product of two gathered rows per pair, in double precision."""
    scores = np.empty(len(left), dtype=np.float64)
    step = max(1, GATHERED // max(1, embeddings.shape[1]))
    for start in range(0, len(left), step):
        i, j = left[start : start + step], right[start : start + step]
        a, b = (embeddings[rows].astype(np.float64, copy=False) for rows in (i, j))
        scores[start : start + step] = np.einsum("md,md->m", a, b) / (norms[i] * norms[j])
    return scores.clip(-1.0, 1.0, out=scores)


def _by_products(
    embeddings: Array,
    norms: NDArray[np.float64],
    left: Array,
    right: Array,
    lefts: NDArray[np.intp],
    rights: NDArray[np.intp],
) -> NDArray[np.float32]:
    """All products of a block of the left with the right rows, then each pair's looked up.

    The pairs may come in any order: each block picks its own. In single precision the products of
    512 dimensions would be off by up to 1e-6, so they are double.
    """
    row, column = _positions(lefts, len(norms)), _positions(rights, len(norms))
    height = max(1, PRODUCTS // len(rights))
    blocks = (row // height).astype(np.uint16)[left]
    offset = row % height * len(rights)
    unit_columns = _unit(embeddings, norms, rights).T
    buffer = np.empty((min(height, len(lefts)), len(rights)))
    scores = np.empty(len(left), dtype=np.float32)
    for number, start in enumerate(range(0, len(lefts), height)):
        unit = _unit(embeddings, norms, lefts[start : start + height])
        products = np.matmul(unit, unit_columns, out=buffer[: len(unit)]).ravel()
        for first in range(0, len(left), LOOKUPS):
            here = np.flatnonzero(blocks[first : first + LOOKUPS] == number) + first
            scores[here] = products[offset[left[here]] + column[right[here]]]
    return scores.clip(-1.0, 1.0, out=scores)


def _unit(
    embeddings: Array, norms: NDArray[np.float64], rows: NDArray[np.intp]
) -> NDArray[np.float64]:
    """Some rows at unit length, float64."""
    return embeddings[rows] / norms[rows, None]
