"""Which images of a source a stage trains on, under which class numbers."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.data.exclude import excluded
from facekd.data.opening import open_source
from facekd.data.shard_order import ShardOrder, shard_order
from facekd.data.sources import Source
from facekd.data_tools.drawn_pairs import from_labels
from facekd.data_tools.images import centre_crop, resize
from facekd.data_tools.labelmap import LabelMap
from facekd.data_tools.pairs import PairSet
from facekd.errors import FacekdError
from facekd.fingerprint import fingerprint
from facekd.recipe import Data

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class FaceSet:
    """A selection of a source's images.

    Attributes:
        source: Where the images are.
        rows: int64 (n,), positions in the source.
        labels: int64 (n,), class numbers 0 .. num_classes - 1; -1 where the person is not known.
        label_map: Identity names by class number.
        size: Side of the square images that `image` gives, in pixels.
        excluded: What the recipe's list leaves out of the source, in words; "" without a list.
        order: Of an epoch where tar shards are read from front to back; None: any.
        centre: Whether an image of another size is cut at its centre, not squeezed.
    """

    source: Source
    rows: IntArray
    labels: IntArray
    label_map: LabelMap
    size: int
    excluded: str = ""
    order: ShardOrder | None = None
    centre: bool = False

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> NDArray[np.uint8]:
        """Image `i`: uint8 RGB (size, size, 3)."""
        return self.fit(self.whole(i))

    def whole(self, i: int) -> NDArray[np.uint8]:
        """Image `i` as the source has it: uint8 RGB (h, w, 3)."""
        return self.source.image(int(self.rows[i]))

    def fit(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """An image of the source at this set's size."""
        if image.shape[:2] == (self.size, self.size):
            return image
        return centre_crop(image, self.size) if self.centre else resize(image, self.size)

    @property
    def num_classes(self) -> int:
        """Number of identities."""
        return len(self.label_map)

    @property
    def index(self) -> IntArray:
        """int64 (n,), the source's stable record ids."""
        return self.source.index[self.rows]

    @property
    def fingerprint(self) -> str:
        """Short hash of the images chosen, their order and size; labels play no part."""
        cut = ["centre"] if self.centre else []
        return fingerprint([self.source.fingerprint, self.rows.tobytes(), str(self.size), *cut])

    def pairs(self, count: int, seed: int, name: str) -> PairSet:
        """Draw a verification set from these images: `data_tools.drawn_pairs.from_labels`."""
        return from_labels(self, self.labels, pairs=count, seed=seed, name=name)


def load_faces(data: Data, size: int) -> tuple[FaceSet, FaceSet | None]:
    """The training images of a recipe, and the people held back from them (or None).

    Args:
        data: The recipe's data section.
        size: Side of the network's square input, in pixels.

    Raises:
        FacekdError: Nothing, or one identity only, is left to train on; a file is missing.
    """
    return choose(open_source(data, size), data, size)


def choose(source: Source, data: Data, size: int) -> tuple[FaceSet, FaceSet | None]:
    """The images of a source that a recipe trains on, and the people held back; see `load_faces`.

    Raises:
        FacekdError: Nothing, or one identity only, is left to train on.
    """
    records = len(source.skipped) + len(source.labels)
    if len(source.skipped) > data.max_bad * records:
        raise FacekdError(
            f"{len(source.skipped)} of {records} records of {data.named} are damaged, more than "
            f"data.max_bad={data.max_bad} allows; the last: {source.skipped[-1]}"
        )
    keep = np.ones(len(source.labels), bool)
    words = ""
    if data.exclude:
        keep = ~excluded(source, Path(data.exclude))
        words = f"{_count_out(source, keep)} by {Path(data.exclude).resolve()}"
    known = source.labels[keep & (source.labels >= 0)]
    counts = np.bincount(known, minlength=len(source.names))
    people = np.flatnonzero(counts >= data.min_images)
    held = _draw_holdout(people[counts[people] > 1], data)
    people = np.setdiff1d(people, held)[: data.max_identities]
    train = replace(_select(source, keep, people, size, unknown=True), excluded=words)
    if len(train) == 0 or (train.num_classes < 2 and not data.unlabelled):
        raise FacekdError(
            f"data: {train.num_classes} identities with {len(train)} images are left in "
            f"{data.named} to train on; at least two are needed: check min_images, "
            "max_identities, exclude and holdout."
        )
    if data.reading == "stream":
        order = shard_order(source, train.rows, data.buffer, data.named)
        train = replace(train, order=order)
    return train, (_select(source, keep, held, size) if len(held) else None)


def _select(
    source: Source,
    keep: NDArray[np.bool_],
    people: IntArray,
    size: int,
    unknown: bool = False,
) -> FaceSet:
    """The images of these people, and those of unknown ones where asked for."""
    number = np.full(len(source.names) + 1, -1, np.int64)  # the last stands for label -1
    number[people] = np.arange(len(people))
    classes = number[source.labels]
    rows = np.flatnonzero(keep & ((classes >= 0) | (unknown & (source.labels < 0))))
    label_map = LabelMap(tuple(source.names[p] for p in people), source.label_space)
    return FaceSet(source, rows.astype(np.int64), classes[rows], label_map, size)


def _draw_holdout(candidates: IntArray, data: Data) -> IntArray:
    if data.holdout > len(candidates):
        raise FacekdError(
            f"data.holdout: {data.holdout} people asked for, but {data.named} has "
            f"{len(candidates)} with two or more images; ask for fewer."
        )
    drawn = np.random.default_rng(data.holdout_seed).permutation(candidates)[: data.holdout]
    return np.sort(drawn)


def _count_out(source: Source, keep: NDArray[np.bool_]) -> str:
    """How many images a list leaves out, and how many people wholly, in words."""
    people = len(source.names) - len(np.unique(source.labels[keep]))
    return f"{np.count_nonzero(~keep)} of {len(keep)} images, {people} whole identities left out"
