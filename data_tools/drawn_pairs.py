"""Genuine and impostor pairs drawn from labelled images, in folds that share no identity."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..errors import FacekdError
from .columns import Int64s
from .pairs import FOLDS, Images, PairSet

_DENSE = 8  # below so many possible pairs for one wanted, they are numbered instead of tried


@dataclass(frozen=True)
class _Fold:
    """The images of some identities, those of one identity side by side.

    Attributes:
        rows: int64 (k,), the images.
        ends: int64 (k,), for each place in `rows` the place after its identity's last image.
        identities: How many.
    """

    rows: Int64s
    ends: Int64s
    identities: int

    @property
    def possible(self) -> tuple[int, int]:
        """How many genuine and how many impostor pairs there are."""
        places = np.arange(len(self.rows))
        return int((self.ends - places - 1).sum()), int((len(self.rows) - self.ends).sum())

    def genuine(self, rng: np.random.Generator, count: int) -> Int64s:
        """`count` different pairs of one identity each; int64 (count, 2)."""
        after = np.arange(1, len(self.rows) + 1)
        return self._numbered(rng, count, after, self.ends - after)

    def impostor(self, rng: np.random.Generator, count: int) -> Int64s:
        """`count` different pairs of two identities each; int64 (count, 2)."""
        if self.possible[1] <= _DENSE * count:
            return self._numbered(rng, count, self.ends, len(self.rows) - self.ends)
        rows = np.sort(self.rows)
        identity = np.empty(len(rows), dtype=np.int64)
        identity[np.searchsorted(rows, self.rows)] = self.ends
        kept = np.empty((0, 2), dtype=np.int64)
        while len(kept) < count:
            fresh = np.sort(rng.choice(len(rows), (2 * count, 2)), axis=1)
            fresh = fresh[identity[fresh[:, 0]] != identity[fresh[:, 1]]]
            kept = np.concatenate([kept, fresh])
            kept = kept[np.sort(np.unique(kept, axis=0, return_index=True)[1])]
        return rows[kept[:count]]

    def _numbered(
        self, rng: np.random.Generator, count: int, begins: Int64s, partners: Int64s
    ) -> Int64s:
        """Draw from all pairs of a place p with one of the `partners[p]` places at `begins[p]`."""
        until = np.cumsum(partners)
        number = rng.choice(int(until[-1]), count, replace=False)
        first = np.searchsorted(until, number, side="right")
        second = begins[first] + number - (until[first] - partners[first])
        return np.stack([self.rows[first], self.rows[second]], axis=1)


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
        FacekdError: The images do not hold that many different pairs; it says how many they do.
    """
    label = np.asarray(labels, dtype=np.int64)
    if len(label) != len(images):
        raise FacekdError(f"{name}: {len(label)} labels for {len(images)} images.")
    if pairs < 2 * folds or pairs % (2 * folds):
        raise FacekdError(
            f"{name}: {pairs} pairs cannot be halved over {folds} folds; ask for a multiple of "
            f"{2 * folds}."
        )
    rng = np.random.default_rng(seed)
    dealt = _deal(rng, label, folds)
    each = pairs // (2 * folds)
    _check_possible(name, dealt, each)
    drawn = [draw(rng, each) for fold in dealt for draw in (fold.genuine, fold.impostor)]
    left, right = np.concatenate(drawn).T
    return PairSet(
        name=name,
        images=images,
        left=left.copy(),
        right=right.copy(),
        same=np.tile(np.repeat([True, False], each), folds),
        folds=np.repeat(np.arange(folds, dtype=np.int64), 2 * each),
        subjects=np.unique(label, return_inverse=True)[1].astype(np.int32),
        subjects_from="labels",
        source=f"{pairs} pairs drawn from {len(images)} labelled images (seed {seed})",
    ).check()


def most_pairs(labels: ArrayLike, folds: int = FOLDS, seed: int = 0) -> int:
    """The most pairs that `from_labels` draws from these labels with this seed; may be 0."""
    dealt = _deal(np.random.default_rng(seed), np.asarray(labels, dtype=np.int64), folds)
    return _most(dealt)


def _deal(rng: np.random.Generator, label: Int64s, folds: int) -> list[_Fold]:
    """Deal the identities to the folds at random, as evenly as can be."""
    identities, number = np.unique(label, return_inverse=True)
    dealt = np.array_split(rng.permutation(len(identities)), folds)
    fold_of = np.empty(len(identities), dtype=np.int64)
    for fold, members in enumerate(dealt):
        fold_of[members] = fold
    order = np.argsort(number, kind="stable")
    ends = np.cumsum(np.bincount(number))
    made = []
    for fold, members in enumerate(dealt):
        rows = order[fold_of[number[order]] == fold]
        counts = np.diff(ends, prepend=0)[np.sort(members)]
        made.append(_Fold(rows, np.repeat(np.cumsum(counts), counts), len(members)))
    return made


def _most(dealt: list[_Fold]) -> int:
    return 2 * len(dealt) * min(min(fold.possible) for fold in dealt)


def _check_possible(name: str, dealt: list[_Fold], each: int) -> None:
    for number, fold in enumerate(dealt):
        for kind, there in zip(("genuine", "impostor"), fold.possible, strict=True):
            if there < each:
                raise FacekdError(
                    f"{name}, fold {number} ({fold.identities} identities, {len(fold.rows)} "
                    f"images): {each} {kind} pairs wanted, {there} there are; ask for "
                    f"{_most(dealt)} pairs at most with {len(dealt)} folds and this seed, or for "
                    "fewer folds, or give more images of more identities."
                )
