"""Verification pairs: which two images to compare, and whether they show one person."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FacekdError
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
    """A set of genuine and impostor pairs, cut into folds.

    Attributes:
        name: What the set is called in tables.
        images: The n images, decoded lazily.
        left: int64 (m,), the first image of each pair.
        right: int64 (m,), the second image of each pair.
        same: bool (m,), True for a genuine pair.
        folds: int64 (m,), the fold of each pair, from 0.
    """

    name: str
    images: Images
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    same: NDArray[np.bool_]
    folds: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.same)

    def check(self) -> "PairSet":
        """Return the set itself when verification is defined on it.

        Raises:
            FacekdError: No pairs, one class only, unequal lengths, or an image that is not there.
        """
        counts = {len(self.left), len(self.right), len(self.same), len(self.folds)}
        if len(counts) > 1:
            raise FacekdError(
                f"{self.name}: {len(self.left)} left and {len(self.right)} right images, "
                f"{len(self.same)} answers and {len(self.folds)} fold numbers do not fit together."
            )
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
    return PairSet(
        name=name or path.stem,
        images=EncodedImages(kept, str(path), numbers.tolist()),
        left=rows[0::2].copy(),
        right=rows[1::2].copy(),
        same=np.asarray(file.same, dtype=np.bool_),
        folds=file_order_folds(len(file.same)),
    ).check()


def from_labels(
    images: Images,
    labels: ArrayLike,
    pairs: int,
    folds: int = FOLDS,
    seed: int = 0,
    name: str = "pairs",
) -> PairSet:
    """Draw as many genuine as impostor pairs from labelled images; folds share no identity.

    The identities are dealt to the folds at random; within a fold genuine pairs are drawn without
    repetition from all there are, impostor pairs from all pairs of different identities.

    Args:
        images: n images.
        labels: int (n,), their identities.
        pairs: How many pairs in all, a multiple of `2 * folds`.
        folds: How many folds.
        seed: Of the drawing; the same seed gives the same pairs.
        name: The set's name.

    Raises:
        FacekdError: The images do not hold that many different pairs.
    """
    label = np.asarray(labels, dtype=np.int64)
    if len(label) != len(images):
        raise FacekdError(f"{name}: {len(label)} labels for {len(images)} images.")
    if pairs < 2 * folds or pairs % (2 * folds):
        raise FacekdError(f"{name}: {pairs} pairs cannot be halved over {folds} folds.")
    rng = np.random.default_rng(seed)
    identities = rng.permutation(np.unique(label))
    each = pairs // (2 * folds)
    drawn = []
    for fold, members in enumerate(np.array_split(identities, folds)):
        rows = np.flatnonzero(np.isin(label, members))
        where = f"{name}, fold {fold} ({len(members)} identities, {len(rows)} images)"
        drawn.append(_genuine(rng, label, rows, each, where))
        drawn.append(_impostor(rng, label, rows, each, where))
    left, right = np.concatenate(drawn).T
    return PairSet(
        name=name,
        images=images,
        left=left.copy(),
        right=right.copy(),
        same=np.tile(np.repeat([True, False], each), folds),
        folds=np.repeat(np.arange(folds, dtype=np.int64), 2 * each),
    ).check()


def _genuine(
    rng: np.random.Generator,
    label: NDArray[np.int64],
    rows: NDArray[np.int64],
    count: int,
    where: str,
) -> NDArray[np.int64]:
    """`count` different pairs of one identity each; int64 (count, 2)."""
    groups = [rows[label[rows] == identity] for identity in np.unique(label[rows])]
    every = [pair for group in groups for pair in combinations(group.tolist(), 2)]
    if len(every) < count:
        raise FacekdError(
            f"{where}: {count} genuine pairs wanted, {len(every)} there are; ask for fewer pairs "
            "or give more images per identity."
        )
    return np.asarray(every, dtype=np.int64)[rng.choice(len(every), count, replace=False)]


def _impostor(
    rng: np.random.Generator,
    label: NDArray[np.int64],
    rows: NDArray[np.int64],
    count: int,
    where: str,
) -> NDArray[np.int64]:
    """`count` different pairs of two identities each; int64 (count, 2)."""
    sizes = np.unique(label[rows], return_counts=True)[1]
    possible = (int(sizes.sum()) ** 2 - int((sizes**2).sum())) // 2
    if possible < count:
        raise FacekdError(
            f"{where}: {count} impostor pairs wanted, {possible} there are; ask for fewer pairs "
            "or give more identities."
        )
    kept = np.empty((0, 2), dtype=np.int64)
    while len(kept) < count:
        fresh = np.sort(rng.choice(rows, (2 * count, 2)), axis=1)
        fresh = fresh[label[fresh[:, 0]] != label[fresh[:, 1]]]
        kept = np.concatenate([kept, fresh])
        kept = kept[np.sort(np.unique(kept, axis=0, return_index=True)[1])]
    return kept[:count]
