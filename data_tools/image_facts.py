"""What a set of encoded images is like: sizes, encoding, quality, bytes, duplicates."""

from array import array
from collections import Counter
from collections.abc import Callable
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .images import Encoded, decode_rgb
from .in_order import in_order
from .jpeg_quality import read_jpeg_header

SAMPLE = 500
_OTHERS = {b"\x89P": "PNG", b"BM": "BMP", b"RI": "WebP"}


class _Seen(NamedTuple):
    """What is kept of one image."""

    size: str
    encoding: str
    quality: int | None
    length: int
    digest: int


def image_facts(
    encoded: Callable[[int], Encoded],
    count: int,
    labels: NDArray[np.int64] | None = None,
    *,
    full: bool = False,
    workers: int = 1,
    tick: Callable[[int], object] = lambda images: None,
) -> dict[str, Any]:
    """Describe encoded images, by an even spread of at most 500 of them.

    Args:
        encoded: Image number -> its bytes.
        count: How many images.
        labels: int64 (count,), their identities, where they are known.
        full: Look at all of them.
        workers: Threads.
        tick: Called with 1 after each image.

    Returns:
        Plain values: `looked_at`, then `image_sizes` ("height x width", or "undecodable"),
        `encoding`, `jpeg_quality` ("own tables": not the IJG's), `image_bytes`, `duplicates`
        (equal bytes within what was looked at).
    """
    spread = np.linspace(0, count - 1, count if full else min(count, SAMPLE)).astype(np.int64)
    rows = np.unique(spread)
    sizes, encodings, qualities = Counter[str](), Counter[str](), Counter[str]()
    lengths, digests = array("q"), array("Q")
    for one in in_order(lambda at: _look(encoded, int(rows[at])), range(len(rows)), workers):
        sizes[one.size] += 1
        encodings[one.encoding] += 1
        if one.quality is not None:
            qualities[str(one.quality) if one.quality else "own tables"] += 1
        lengths.append(one.length)
        digests.append(one.digest)
        tick(1)
    facts: dict[str, Any] = {
        "looked_at": len(rows),
        "image_sizes": dict(sizes.most_common()),
        "encoding": dict(encodings.most_common()),
    }
    if qualities:
        facts["jpeg_quality"] = dict(qualities.most_common())
    facts["image_bytes"] = {
        "min": min(lengths),
        "median": float(np.median(lengths)),
        "max": max(lengths),
    }
    facts["duplicates"] = _duplicates(
        np.array(digests, dtype=np.uint64), None if labels is None else labels[rows]
    )
    return facts


def identity_facts(labels: NDArray[np.int64]) -> dict[str, Any]:
    """How many identities there are, and how many images each of them has."""
    counts = np.unique(labels, return_counts=True)[1]
    return {
        "identities": len(counts),
        "images_per_identity": {
            "min": int(counts.min()),
            "median": float(np.median(counts)),
            "p95": float(np.percentile(counts, 95)),
            "max": int(counts.max()),
        },
        "histogram": _histogram(counts),
    }


def _histogram(counts: NDArray[np.int64]) -> dict[str, int]:
    """Identities by number of images, in bins that double: 1, 2-3, 4-7 ..."""
    bins = np.log2(counts).astype(np.int64)
    heights = np.bincount(bins)
    first = int(np.flatnonzero(heights)[0])
    return {
        f"{1 << i}-{(2 << i) - 1}" if i else "1": int(heights[i])
        for i in range(first, len(heights))
    }


def _look(encoded: Callable[[int], Encoded], i: int) -> _Seen:
    try:
        content = encoded(i)
    except (FacekdError, OSError):
        return _Seen("undecodable", "unreadable", None, 0, _digest(i.to_bytes(8, "little")))
    try:
        height, width, _ = decode_rgb(content).shape
        size = f"{height}x{width}"
    except FacekdError:
        size = "undecodable"
    encoding, quality = _OTHERS.get(bytes(content[:2]), "other"), None
    if bytes(content[:2]) == b"\xff\xd8":
        try:
            header = read_jpeg_header(content)
            encoding, quality = header.colours, header.quality or 0
        except FacekdError:
            encoding = "JPEG, damaged header"
    return _Seen(size, encoding, quality, len(content), _digest(content))


def _digest(content: Encoded) -> int:
    """64 bits: among six million images two alike by chance are one chance in a million."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def _duplicates(digests: NDArray[np.uint64], labels: NDArray[np.int64] | None) -> dict[str, int]:
    """How many images repeat the bytes of an earlier one, and how many of them as someone else."""
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    earlier = first[which]
    again = earlier != np.arange(len(digests))
    found = {"images": int(np.count_nonzero(again))}
    if labels is not None:
        others = again & (labels != labels[earlier])
        found["of_another_identity"] = int(np.count_nonzero(others))
    return found
