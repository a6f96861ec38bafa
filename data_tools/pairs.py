"""Verification pairs: which two images to compare, and whether they show one person."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..fingerprint import fingerprint
from .binfile import read_bin
from .images import Encoded, decode_rgb

FOLDS = 10


class Images(Protocol):
    """Images by number, made when asked for; each is uint8 RGB (h, w, 3)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]: ...


@dataclass(frozen=True)
class EncodedImages:
    """Encoded images (JPEG bytes), decoded one at a time on access; picklable.

    Attributes:
        encoded: One encoded image each.
        source: The file they come from, for error messages.
        numbers: Each image's number in that file.
    """

    encoded: Sequence[Encoded]
    source: str
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        try:
            return decode_rgb(self.encoded[index])
        except FacekdError as error:
            raise FacekdError(f"{self.source}, image {self.numbers[index]}: {error}") from error


@dataclass(frozen=True)
class PairSet:
    """A set of genuine and impostor pairs.

    Attributes:
        name: What the set is called in tables.
        images: The n images, decoded lazily.
        left: int64 (m,), the first image of each pair.
        right: int64 (m,), the second image of each pair.
        same: bool (m,), True for a genuine pair.
        folds: int64 (m,), the fold of each pair, from 0; None where the protocol has none.
        groups: str (m,), each pair's group, "" for none; None where the source names none.
        subjects: int32 (n,), the person of each image by number; None where the source does not
            say who they are.
        subjects_from: What says who they are; "" where nothing does.
        ids: What the source calls each image; None where it only numbers them (a `.bin`).
        found: bool (n,), False where no face could be found; None when all were.
        source: Where the pairs come from and what is odd about them, in words.
        fingerprint: Sixteen hex digits of what the images are; "" where it is not known.
    """

    name: str
    images: Images
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64] | None
    groups: NDArray[np.str_] | None = None
    subjects: NDArray[np.int32] | None = None
    subjects_from: str = ""
    ids: Sequence[str] | None = None
    found: NDArray[np.bool_] | None = None
    source: str = ""
    fingerprint: str = ""

    def __len__(self) -> int:
        return len(self.same)

    def check(self) -> "PairSet":
        """Return the set itself when verification is defined on it.

        Raises:
            FacekdError: No pairs, one class only, unequal lengths, or an image that is not there.
        """
        self._check_lengths()
        genuine = int(np.count_nonzero(self.same))
        if genuine in (0, len(self)):
            kind = "impostor" if genuine else "genuine"
            raise FacekdError(
                f"{self.name}: none of its {len(self)} pairs is {kind}; accuracy and TAR at FAR "
                "need both genuine and impostor pairs, so use a complete pair list."
            )
        used = np.concatenate([self.left, self.right])
        if used.min() < 0 or used.max() >= len(self.images):
            bad = int(np.flatnonzero((used < 0) | (used >= len(self.images)))[0]) % len(self)
            raise FacekdError(
                f"{self.name}: pair {bad} names image {self.left[bad]} and {self.right[bad]}, "
                f"but there are {len(self.images)} images, numbered from 0."
            )
        return self

    def _check_lengths(self) -> None:
        folds = len(self) if self.folds is None else len(self.folds)
        groups = len(self) if self.groups is None else len(self.groups)
        if len({len(self.left), len(self.right), len(self), folds, groups}) > 1:
            raise FacekdError(
                f"{self.name}: {len(self.left)} left and {len(self.right)} right images, "
                f"{len(self.same)} answers, {folds} fold numbers and {groups} groups do not fit "
                "together."
            )
        per_image = {"subjects": self.subjects, "ids": self.ids, "found flags": self.found}
        for what, values in per_image.items():
            if values is not None and len(values) != len(self.images):
                raise FacekdError(
                    f"{self.name}: {len(values)} {what} for {len(self.images)} images."
                )


def first_of_pair(left: NDArray[np.int64], right: NDArray[np.int64]) -> NDArray[np.int64]:
    """For every pair the first one of the same two images, in either order; int64 (m,).

    A pair that occurs once, or for the first time, is its own first.
    """
    low, high = np.minimum(left, right), np.maximum(left, right)
    keys = low * (int(high.max(initial=0)) + 1) + high
    _, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return first[which]


def file_order_folds(pairs: int, folds: int = FOLDS) -> NDArray[np.int64]:
    """Consecutive folds as equal as can be, the longer ones first; int64 (pairs,)."""
    sizes = [len(part) for part in np.array_split(np.empty(pairs), folds)]
    return np.repeat(np.arange(folds, dtype=np.int64), sizes)


def from_bin(path: str | Path, name: str | None = None) -> PairSet:
    """Read an insightface `.bin`: pair i is images 2i and 2i+1, ten folds in file order.

    An image that occurs in several pairs, byte for byte the same, is kept (and embedded) once:
    7,701 images instead of 12,000 for LFW.

    Args:
        path: The file.
        name: The set's name; the file's stem when None.

    Raises:
        FacekdError: Not such a file, or one on which verification is not defined.
    """
    path = Path(path)
    file = read_bin(path)
    first: dict[bytes, int] = {}
    owner = [first.setdefault(bytes(image), i) for i, image in enumerate(file.encoded)]
    numbers, rows = np.unique(np.asarray(owner, dtype=np.int64), return_inverse=True)
    kept = [file.encoded[i] for i in numbers.tolist()]
    left, right = rows[0::2].copy(), rows[1::2].copy()
    return PairSet(
        name=name or path.stem,
        images=EncodedImages(kept, str(path), numbers.tolist()),
        left=left,
        right=right,
        same=file.same,
        folds=file_order_folds(len(file.same)),
        source=f"{path}{oddities(left, right, file.same)}",
        fingerprint=fingerprint(first),
    ).check()


def oddities(left: NDArray[np.int64], right: NDArray[np.int64], same: NDArray[np.bool_]) -> str:
    """What a pair list should not have but this one has, in words, in brackets; "" for nothing."""
    first = first_of_pair(left, right)
    counts = {
        "that occurred before": np.count_nonzero(first != np.arange(len(first))),
        "called both genuine and impostor": np.count_nonzero(same != same[first]),
        "of an image with itself": np.count_nonzero(left == right),
    }
    told = [f"{count} {what}" for what, count in counts.items() if count]
    return f" (pairs kept as they are: {', '.join(told)})" if told else ""
