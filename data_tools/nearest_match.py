"""Who of one set is found in another: nearest neighbours, both ways, in blocks.

Of all pairs near enough, which may be very many, those are kept in which one image is the other's
nearest. So every image that has a counterpart is there with its nearest one, and the result is
never longer than both sets together.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .perceptual import Hashes
from .thresholds import SEARCHED_BITS

_HASHES = 1 << 16  # compared with one hash at a time: half a megabyte stays in the cache
_ROWS = 4096  # of embeddings multiplied at a time, on each side
_FAR = 1 << 20

Tick = Callable[[int], object]
Rows = NDArray[np.int64]
Array = NDArray[Any]
Nearest = tuple[Array, Rows]  # each one's distance or cosine, and its partner's number, -1 for none


@dataclass(frozen=True)
class Matches:
    """Pairs of an image of A and one of B, by A's number.

    Attributes:
        a: int64 (m,), numbers in A.
        b: int64 (m,), numbers in B.
        values: (m,), how far or near: differing bits or cosines.
    """

    a: Rows
    b: Rows
    values: Array

    def __len__(self) -> int:
        return len(self.a)


def equal_digests(a: Array, b: Array) -> Matches:
    """Images with the same digest; arrays of fixed-width bytes (n,) and (m,)."""
    ab, ba = _find(a, b), _find(b, a)
    return _both_ways(ab, ba, np.zeros(len(a)), np.zeros(len(b)))


def near_hashes(a: Hashes, b: Hashes, bits: int, tick: Tick = int) -> Matches:
    """Images whose perceptual hashes differ by few bits.

    Every pair is compared: 0.5 ns each for the first word, so that 12,000 images are looked for
    among 5,000,000 in half a minute; memory is that of the hashes.

    Args:
        a: uint64 (n, 4), from `perceptual_hash`.
        b: uint64 (m, 4).
        bits: Of 256, the most by which two may differ; at most `SEARCHED_BITS` in the first word.
        tick: Told how many pairs have been compared since it was last told.

    Returns:
        The values are int64, differing bits.
    """
    if len(a) < len(b):
        turned = near_hashes(b, a, bits, tick)
        order = np.lexsort((turned.a, turned.b))
        return Matches(turned.b[order], turned.a[order], turned.values[order])
    best_b = np.full(len(b), _FAR), np.full(len(b), -1)
    found = []
    for start in range(0, len(a), _HASHES):
        part = a[start : start + _HASHES]
        of_part, (distances, rows) = _search_part(part, b, bits)
        found.append(of_part)
        nearer = distances < best_b[0]
        best_b[0][nearer], best_b[1][nearer] = distances[nearer], rows[nearer] + start
        tick(len(part) * len(b))
    distances, partners = (np.concatenate(column) for column in zip(*found, strict=True))
    return _both_ways(partners, best_b[1], distances, best_b[0])


def near_embeddings(a: Array, b: Array, threshold: float, tick: Tick = int) -> Matches:
    """Images whose embeddings have a cosine of at least `threshold`, by blocked products.

    12,000 x 5,000,000 embeddings of 512 numbers take twenty minutes on two cores (47 GFLOP/s).
    Memory is two blocks and their products; the arrays may be mapped files.

    Args:
        a: float (n, d), of any norm but zero.
        b: float (m, d).
        threshold: Least cosine.
        tick: Told how many pairs have been compared since it was last told.

    Returns:
        The values are float32 cosines.

    Raises:
        FacekdError: An embedding is zero or not finite, or the two have another width.
    """
    if a.shape[1] != b.shape[1]:
        raise FacekdError(
            f"embeddings of {a.shape[1]} and of {b.shape[1]} numbers cannot be compared; use "
            "those of one network."
        )
    best_a = np.full(len(a), -np.inf, np.float32), np.full(len(a), -1)
    best_b = np.full(len(b), -np.inf, np.float32), np.full(len(b), -1)
    for rows, left in unit_blocks(a, _ROWS):
        for columns, right in unit_blocks(b, _ROWS):
            products = left @ right.T
            _keep_best(products, threshold, best_a, rows, columns.start)
            _keep_best(products.T, threshold, best_b, columns, rows.start)
            tick(products.size)
    return _both_ways(best_a[1], best_b[1], best_a[0], best_b[0])


def nearest_embeddings(
    a: Array, b: Array, skip: Rows, tick: Tick = int
) -> tuple[NDArray[np.float32], Rows]:
    """The nearest of B for each of A.

    Args:
        a: float (n, d), of any norm but zero.
        b: float (m, d), m at least 2.
        skip: int64 (n,), the one row of B that each may not have.
        tick: Told how many pairs have been compared since it was last told.

    Returns:
        Cosines, float32 (n,), and rows of B, int64 (n,).

    Raises:
        FacekdError: An embedding is zero or not finite.
    """
    best = np.full(len(a), -np.inf, np.float32), np.full(len(a), -1)
    for columns, right in unit_blocks(b):
        for rows, left in unit_blocks(a):
            products = left @ right.T
            own = skip[rows] - columns.start
            here = np.flatnonzero((own >= 0) & (own < len(right)))
            products[here, own[here]] = -np.inf
            _keep_best(products, -1.1, best, rows, columns.start)
            tick(products.size)
    return best


def unit_blocks(
    embeddings: Array, size: int = _ROWS
) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    """Go through embeddings in blocks; float32 (b, d), each of length one.

    Raises:
        FacekdError: An embedding is zero or not finite.
    """
    for start in range(0, len(embeddings), size):
        block = np.asarray(embeddings[start : start + size], dtype=np.float32)
        norms = np.linalg.norm(block, axis=1, keepdims=True)
        bad = np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))
        if len(bad):
            raise FacekdError(
                f"the embedding of image {start + bad[0]} has norm {norms[bad[0], 0]:g}; look for "
                "broken weights or images."
            )
        yield slice(start, start + len(block)), block / norms


def _find(wanted: Array, among: Array) -> Rows:
    """The first row of `among` equal to each of `wanted`, -1 where there is none."""
    order = np.argsort(among, kind="stable")
    place = np.searchsorted(among, wanted, sorter=order)
    rows = order[np.minimum(place, len(among) - 1)] if len(among) else np.zeros(len(wanted), int)
    return np.where(among[rows] == wanted, rows, -1)


def _search_part(part: Hashes, few: Hashes, bits: int) -> tuple[Nearest, Nearest]:
    """The nearest of the few for each of the part, and of the part for each of the few."""
    words = np.ascontiguousarray(part[:, 0])
    differing, counts = np.empty_like(words), np.empty(len(words), np.uint8)
    best = np.full(len(part), _FAR), np.full(len(part), -1)
    best_few = np.full(len(few), _FAR), np.full(len(few), -1)
    for i, one in enumerate(few):
        np.bitwise_xor(words, one[0], out=differing)
        np.bitwise_count(differing, out=counts)
        rows = np.flatnonzero(counts <= SEARCHED_BITS)
        distances = np.bitwise_count(part[rows] ^ one).sum(axis=1, dtype=np.int64)
        rows, distances = rows[distances <= bits], distances[distances <= bits]
        if len(rows):
            first = distances.argmin()
            best_few[0][i], best_few[1][i] = distances[first], rows[first]
            nearer = distances < best[0][rows]
            best[0][rows[nearer]], best[1][rows[nearer]] = distances[nearer], i
    return best, best_few


def _keep_best(products: Array, threshold: float, best: Nearest, rows: slice, offset: int) -> None:
    """Each row's highest product, where it reaches the threshold and is above that so far."""
    highest = products.argmax(axis=1)
    values = products[np.arange(len(products)), highest]
    better = np.flatnonzero((values >= threshold) & (values > best[0][rows]))
    best[0][rows.start + better] = values[better]
    best[1][rows.start + better] = highest[better] + offset


def _both_ways(of_a: Rows, of_b: Rows, value_a: Array, value_b: Array) -> Matches:
    """Each one of A, and of B, with its partner (-1: none): pairs by A, then B, once each."""
    rows, columns = np.flatnonzero(of_a >= 0), np.flatnonzero(of_b >= 0)
    pairs = np.concatenate(
        [np.stack([rows, of_a[rows]], axis=1), np.stack([of_b[columns], columns], axis=1)]
    )
    values = np.concatenate([value_a[rows], value_b[columns]])
    pairs, first = np.unique(pairs, axis=0, return_index=True)
    return Matches(pairs[:, 0], pairs[:, 1], values[first])
