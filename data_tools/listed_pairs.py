"""Pairs as a text file lists them, by image and line, made into a pair set."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..fingerprint import fingerprint
from .image_roots import ImageRoot
from .images import Image
from .pairs import FOLDS, Images, PairSet, file_order_folds, first_of_pair, oddities

MISSING_SIZE = 112


@dataclass(frozen=True, slots=True)
class ListedPair:
    """One pair of a list.

    Attributes:
        where: The file and the line it stands on, for error messages.
        left: The first image's path below the root folder, with forward slashes.
        right: The second image's.
        same: Whether the list calls it genuine.
        left_subject: Who the first image shows; None where the list does not say.
        right_subject: Who the second shows.
    """

    where: str
    left: str
    right: str
    same: bool
    left_subject: str | None = None
    right_subject: str | None = None


@dataclass(frozen=True)
class ImagesOrBlack:
    """Images some of which are not there: those are black.

    Attributes:
        there: The images that are there.
        numbers: Each image's number in `there`, -1 for one that is not.
    """

    there: Images
    numbers: Sequence[int]

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int, /) -> Image:
        number = self.numbers[index]
        if number < 0:
            return np.zeros((MISSING_SIZE, MISSING_SIZE, 3), np.uint8)
        return self.there[number]


def pair_set(
    listed: Sequence[ListedPair],
    root: ImageRoot,
    *,
    name: str,
    source: str,
    folds: NDArray[np.int64] | None,
    subjects_from: str = "",
    duplicates: bool = False,
    missing_ok: bool = False,
) -> PairSet:
    """Make the pair set of listed pairs; an image that occurs in several pairs is kept once.

    Args:
        listed: m pairs; either all name their subjects or none does.
        root: What the images are looked up in.
        name: The set's name.
        source: The list, in words.
        folds: int64 (m,), or None.
        subjects_from: What says who the images show; "" where nothing does.
        duplicates: Keep pairs that occur twice, and say in `source` how many there are.
        missing_ok: Count an image that is not there as a face that was not found.

    Raises:
        FacekdError: No pairs or one class only; an image that is not there; a pair that occurs
            twice, is of an image with itself, or contradicts another pair or the subjects.
    """
    if not listed:
        raise FacekdError(f"{source} lists no pairs.")
    numbers: dict[str, int] = {}
    for pair in listed:
        numbers.setdefault(pair.left, len(numbers))
        numbers.setdefault(pair.right, len(numbers))
    left = np.array([numbers[pair.left] for pair in listed], dtype=np.int64)
    right = np.array([numbers[pair.right] for pair in listed], dtype=np.int64)
    same = np.array([pair.same for pair in listed], dtype=np.bool_)
    _check_repeats(listed, left, right, same, duplicates)
    ids = list(numbers)
    subjects = _subjects(listed, numbers) if subjects_from else None
    found = np.array([root.has(name) for name in ids], dtype=np.bool_)
    if not found.all():
        _refuse_missing(listed, root, ids, found, missing_ok)
    images, marks = _open(root, ids, found)
    return PairSet(
        name=name,
        images=images,
        left=left,
        right=right,
        same=same,
        folds=folds,
        subjects=subjects,
        subjects_from=subjects_from,
        ids=ids,
        found=None if found.all() else found,
        source=source + oddities(left, right, same) + _missing_words(found),
        fingerprint=marks,
    ).check()


def balanced_file_order_folds(same: Sequence[bool]) -> NDArray[np.int64] | None:
    """Ten folds in file order; None where they would be unequal or one would hold one class only.

    Args:
        same: m booleans, True for a genuine pair.
    """
    if not same or len(same) % FOLDS:
        return None
    per_fold = np.asarray(same, dtype=np.bool_).reshape(FOLDS, -1)
    if (per_fold.all(axis=1) | ~per_fold.any(axis=1)).any():
        return None
    return file_order_folds(len(same))


def _check_repeats(
    listed: Sequence[ListedPair],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    same: NDArray[np.bool_],
    duplicates: bool,
) -> None:
    itself = np.flatnonzero(left == right)
    if len(itself):
        pair = listed[itself[0]]
        raise FacekdError(f"{pair.where}: {pair.left} is compared with itself; take the line out.")
    first = first_of_pair(left, right)
    contradicted = np.flatnonzero(same != same[first])
    if len(contradicted):
        pair, other = listed[contradicted[0]], listed[first[contradicted[0]]]
        raise FacekdError(
            f"{pair.where}: {pair.left} and {pair.right} are called "
            f"{'genuine' if pair.same else 'impostor'} here and the opposite in {other.where}; "
            "correct one of them."
        )
    again = np.flatnonzero(first != np.arange(len(first)))
    if len(again) and not duplicates:
        pair, other = listed[again[0]], listed[first[again[0]]]
        raise FacekdError(
            f"{pair.where}: {pair.left} and {pair.right} were already compared in {other.where} "
            f"({len(again)} repeated pairs in all); take them out, or keep them with "
            "--keep-duplicates."
        )


def _subjects(listed: Sequence[ListedPair], numbers: dict[str, int]) -> NDArray[np.int32]:
    """The person of each image by number, int32 (n,), checked against the pairs' answers."""
    people: dict[str, int] = {}
    subjects = np.full(len(numbers), -1, dtype=np.int32)
    for pair in listed:
        for image, person in ((pair.left, pair.left_subject), (pair.right, pair.right_subject)):
            if not person:
                raise FacekdError(f"{pair.where}: it does not say who {image} shows.")
            number = people.setdefault(person, len(people))
            if subjects[numbers[image]] not in (-1, number):
                raise FacekdError(
                    f"{pair.where}: {image} is said to show {person}, and somebody else in an "
                    "earlier pair; correct one of them."
                )
            subjects[numbers[image]] = number
        if pair.same != (pair.left_subject == pair.right_subject):
            kind = "a genuine" if pair.same else "an impostor"
            raise FacekdError(
                f"{pair.where}: {kind} pair of {pair.left_subject} and {pair.right_subject}; "
                "correct the answer or the people."
            )
    return subjects


def _refuse_missing(
    listed: Sequence[ListedPair],
    root: ImageRoot,
    ids: Sequence[str],
    found: NDArray[np.bool_],
    missing_ok: bool,
) -> None:
    """Stop at an image that is not there, unless those are counted and some are there."""
    if missing_ok and found.any():
        return
    image = ids[int(np.flatnonzero(~found)[0])]
    pair = next(pair for pair in listed if image in (pair.left, pair.right))
    raise FacekdError(
        f"{pair.where}: there is no image {root.where(image)} ({np.count_nonzero(~found)} of "
        f"{len(found)} images are missing); give {root.meaning}"
        + (
            ", or let facekd-eval count them as faces not found with --missing count."
            if found.any()
            else "."
        )
    )


def _open(root: ImageRoot, ids: Sequence[str], found: NDArray[np.bool_]) -> tuple[Images, str]:
    """The images, black where they are missing, and their fingerprint."""
    images, marks = root.open(list(compress(ids, found)))
    if found.all():
        return images, marks
    numbers = np.where(found, np.cumsum(found) - 1, -1)
    return ImagesOrBlack(images, numbers.tolist()), fingerprint([marks, *compress(ids, ~found)])


def _missing_words(found: NDArray[np.bool_]) -> str:
    missing = np.count_nonzero(~found)
    return f" ({missing} of {len(found)} images missing: faces not found)" if missing else ""
