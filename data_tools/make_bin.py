"""Verification pairs written as insightface's `.bin`, or as a list of pairs."""

import csv
import io
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..files import atomic_path, write_text
from .binfile import read_bin, write_bin
from .images import decode_rgb, encode_jpeg, resize
from .labelled import Stored
from .pairs import FOLDS, PairSet, file_order_folds

SIZE = 112
QUALITY = 95
_JPEG = b"\xff\xd8"


@dataclass(frozen=True)
class BinImages:
    """What became of the images of a `.bin`.

    Attributes:
        encoded: n images, each a JPEG of 112 x 112 pixels.
        untouched: How many are the very bytes that they were.
        stretched: How many were not square.
    """

    encoded: list[bytes]
    untouched: int
    stretched: int


def bin_order(pairs: PairSet) -> NDArray[np.int64]:
    """The order in which a `.bin` lists pairs: fold after fold; int64 (m,).

    Readers of a `.bin` cut it into ten folds in file order, so it can hold no others.

    Raises:
        FacekdError: The pairs have folds, and they are not ten of equal size.
    """
    if pairs.folds is None:
        return np.arange(len(pairs), dtype=np.int64)
    order = np.argsort(pairs.folds, kind="stable")
    if not np.array_equal(pairs.folds[order], file_order_folds(len(pairs))):
        sizes = np.unique(pairs.folds, return_counts=True)[1].tolist()
        raise FacekdError(
            f"{pairs.name} has {len(sizes)} folds of {min(sizes)} to {max(sizes)} pairs, and a "
            f".bin is read as {FOLDS} of equal size: give {FOLDS} such folds, or a list without "
            "folds."
        )
    return order


def crop_images(pairs: PairSet, rows: Iterable[int]) -> BinImages:
    """The images of pairs as a `.bin` holds them: untouched where they are 112 x 112 JPEGs.

    Others are resized and encoded as JPEG of quality 95.

    Args:
        pairs: From files, a `.rec` or shards.
        rows: The images 0 .. n - 1; wrapped for a progress bar, if so wished.

    Raises:
        FacekdError: An image cannot be read or decoded.
    """
    images = cast(Stored, pairs.images)
    made: list[bytes] = []
    untouched = stretched = 0
    for row in rows:
        encoded = bytes(images.encoded(row))
        try:
            image = decode_rgb(encoded)
        except FacekdError as error:
            raise FacekdError(f"{images.where(row)}: {error}") from error
        if encoded.startswith(_JPEG) and image.shape[:2] == (SIZE, SIZE):
            untouched += 1
        else:
            stretched += image.shape[0] != image.shape[1]
            encoded = encode_jpeg(resize(image, SIZE), QUALITY)
        made.append(encoded)
    return BinImages(made, untouched, stretched)


def save_bin(path: Path, pairs: PairSet, images: BinImages) -> None:
    """Write a `.bin`, read it back, compare, and only then put it in its place.

    Args:
        path: The file.
        pairs: Which images, and which of them show one person.
        images: The pairs' images, as `crop_images` makes them.

    Raises:
        FacekdError: Folds that a `.bin` cannot hold, a full disk, or a file that reads otherwise
            than it was written.
    """
    order = bin_order(pairs)
    sides = np.stack([pairs.left[order], pairs.right[order]], axis=1).ravel()
    encoded = [images.encoded[i] for i in sides.tolist()]
    same = pairs.same[order].tolist()
    with atomic_path(path) as temporary:
        write_bin(temporary, encoded, same)
        back = read_bin(temporary)
        if [bytes(one) for one in back.encoded] != encoded or back.same.tolist() != same:
            raise FacekdError(f"{path} does not read as it was written: the disk may be failing.")


def save_list(path: Path, pairs: PairSet, names: list[str]) -> None:
    """Write pairs as a CSV that `pair_files.from_csv` reads back, atomically.

    Args:
        path: The CSV: `a,b,same,fold,subject_a,subject_b`.
        pairs: With ids, folds and subjects.
        names: For each subject the name to write.

    Raises:
        FacekdError: An image's id cannot stand in such a list.
    """
    ids, folds, subjects = pairs.ids, pairs.folds, pairs.subjects
    assert ids is not None and folds is not None and subjects is not None  # noqa: PT018
    rows = []
    for k in range(len(pairs)):
        left, right = int(pairs.left[k]), int(pairs.right[k])
        for image in (left, right):
            if ids[image] != ids[image].strip() or ids[image] != posixpath.normpath(ids[image]):
                raise FacekdError(
                    f"the image {ids[image]!r} cannot stand in a list of pairs: rename it, without "
                    "spaces at its ends."
                )
        people = names[subjects[left]], names[subjects[right]]
        rows.append((ids[left], ids[right], int(pairs.same[k]), int(folds[k]), *people))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([("a", "b", "same", "fold", "subject_a", "subject_b"), *rows])
    write_text(path, text.getvalue())
