"""Contact sheets of whole sets: identities in rows, or pairs side by side, chosen by a seed."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .binfile import BinFile
from .images import Image
from .pairs import EncodedImages, Images, PairSet
from .sheet import contact_sheet

_ROWS, _COLUMNS = 10, 8
_GREY = np.full((2, 2, 3), 225, np.uint8)


def identity_sheet(
    images: Images, labels: NDArray[np.integer[Any]], name: Callable[[int], str], seed: int = 0
) -> Image:
    """Ten identities in rows, at most eight images of each.

    Args:
        images: n images; one that cannot be read is a grey square.
        labels: int (n,).
        name: What to call a label.
        seed: Of the choice.
    """
    rng = np.random.default_rng(seed)
    people, counts = np.unique(labels, return_counts=True)
    order = np.argsort(labels, kind="stable")
    ends = np.cumsum(counts)
    shown: list[Image | None] = []
    captions: list[str] = []
    columns = min(_COLUMNS, int(counts.max()))
    for k in np.sort(rng.choice(len(people), min(_ROWS, len(people)), replace=False)).tolist():
        rows = order[ends[k] - counts[k] : ends[k]]
        rows = np.sort(rng.choice(rows, min(columns, len(rows)), replace=False))
        empty = columns - len(rows)
        shown += [*(_image(images, i) for i in rows.tolist()), *[None] * empty]
        number = int(counts[k])
        captions.append(f"{name(int(people[k]))}  ({number} image{'s' * (number > 1)})")
        captions += [""] * (columns - 1)
    return contact_sheet(shown, captions, columns)


def bin_sheet(content: BinFile, source: str, seed: int = 0) -> Image:
    """The same as `pair_sheet` of a `.bin`, also of one in which all pairs are of one class."""
    numbers = range(len(content.encoded))
    left = np.arange(0, len(numbers), 2)
    images = EncodedImages(content.encoded, source, numbers)
    return pair_sheet(PairSet(source, images, left, left + 1, content.same, None), seed)


def pair_sheet(pairs: PairSet, seed: int = 0) -> Image:
    """Ten genuine pairs on the left and ten impostor pairs on the right."""
    rng = np.random.default_rng(seed)
    shown: list[Image | None] = []
    captions: list[str] = []
    sides = []
    for same in (True, False):
        numbers = np.flatnonzero(pairs.same == same)
        sides.append(np.sort(rng.choice(numbers, min(_ROWS, len(numbers)), replace=False)))
    for row in range(max(map(len, sides))):
        for kind, numbers in zip(("genuine", "impostor"), sides, strict=True):
            if kind == "impostor":
                shown.append(None)
                captions.append(" ")
            if row >= len(numbers):
                shown += [None, None]
                captions += [" ", ""]
                continue
            pair = int(numbers[row])
            shown += [_image(pairs.images, int(side[pair])) for side in (pairs.left, pairs.right)]
            captions += [f"{kind}, pair {pair}", ""]
    return contact_sheet(shown, captions, 5)


def _image(images: Images, i: int) -> Image:
    try:
        return images[i]
    except FacekdError:
        return _GREY
