"""Labelled images: a folder, a `.rec` or tar shards, each image with its identity, read lazily."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..fingerprint import fingerprint
from .columns import Column, blocks, column, distinct, first_difference, sorted_copy
from .facerec import FaceRecords
from .file_images import FileImages, PathsBelow
from .folder import is_image_name, list_folder
from .images import Encoded, Image, decode_rgb
from .label_vectors import Vector
from .lst import FOLDER_LIST, identity_names, read_list
from .record_parts import find_records, open_records
from .safe_paths import inside
from .texts import Digits, Texts

OnBad = Literal["error", "skip"]


class Stored(Protocol):
    """Images by number, with the bytes they are stored as; each decodes to uint8 RGB (h, w, 3)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Image: ...

    def encoded(self, index: int, /) -> Encoded:
        """The image's encoded bytes, untouched."""
        ...

    def where(self, index: int, /) -> str:
        """Name the image for a message: its file, and where in it."""
        ...

    def take(self, rows: NDArray[np.int64], /) -> "Stored":
        """These images alone, in this order, small enough to be sent to another process."""
        ...


@dataclass(frozen=True)
class LabelledImages:
    """Images of known identities, nobody paired with anybody yet.

    Attributes:
        name: What the set is called in tables.
        source: Where the images come from, in words.
        images: The n images, decoded lazily.
        labels: int64 (n,), their identities.
        names: Identity names, where they have some: that of label i is `names[i]`, "" where no
            image has that label.
        ids: Each image's name in the set: its path below the folder or in the list beside the
            `.rec`; without a list, its record's number.
        fingerprint: Short hash by which the same images and labels are known again.
        keys: int64 (n,), their record numbers, where they have some.
        vectors: All labels of the images that have several, by image; those of a `.rec` stand in
            its records.
    """

    name: str
    source: str
    images: Stored
    labels: NDArray[np.int64]
    names: Sequence[str] | None
    ids: Sequence[str]
    fingerprint: str
    keys: NDArray[np.int64] | None = None
    vectors: Mapping[int, Vector] = field(default_factory=dict)


@dataclass(frozen=True)
class RecordImages:
    """The images of a `.rec`, decoded one at a time on access; picklable."""

    records: FaceRecords

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int, /) -> Image:
        encoded = self.records.encoded(index)
        try:
            return decode_rgb(encoded)
        except FacekdError as error:
            raise FacekdError(f"{self.records.where(index)}: {error}") from error

    def encoded(self, index: int, /) -> Encoded:
        """The record's image bytes, untouched."""
        return self.records.encoded(index)

    def take(self, rows: NDArray[np.int64], /) -> "RecordImages":
        """See `Stored.take`."""
        return RecordImages(self.records.take(rows))

    def where(self, index: int, /) -> str:
        """File, record number and byte, for a message."""
        return self.records.where(index)


def open_labelled(path: str | Path, on_bad_record: OnBad = "error") -> LabelledImages:
    """Open a folder of `name/*.jpg`, a `.rec` file or tar shards; no image is decoded here.

    A folder with an `images.lst` (one made from a `.rec`) has the labels of that list; a `.rec`
    with a `.lst` beside it has the names of that. A folder with `*.rec` or `*.tar` in it, or a
    pattern such as `train-{0000..0009}.tar`, stands for these files as one set.

    Args:
        path: The set.
        on_bad_record: With "skip" damaged records of a `.rec` are left out.

    Raises:
        FacekdError: There is no such folder or file, or it cannot be read as one.
    """
    from .tar_shards import find_shards

    path = Path(path)
    shards = find_shards(path)
    if shards:
        return from_shards(path, shards)
    files = find_records(path)
    if files:
        return from_records(path, files, on_bad_record)
    if path.is_dir():
        return _from_folder(path)
    what = "is of no known kind" if path.exists() else "does not exist"
    raise FacekdError(
        f"labelled images: {path} {what}; give a folder of NAME/*.jpg, a .rec file or .tar shards."
    )


def _from_folder(path: Path) -> LabelledImages:
    if (path / FOLDER_LIST).is_file():
        return _from_listed_folder(path)
    listing = list_folder(path)
    ids = listing.places
    images = FileImages(PathsBelow(path, ids))
    return LabelledImages(
        name=path.resolve().name,
        source=f"{path}: {len(ids)} images of {len(listing.names)} identities, by folder",
        images=images,
        labels=listing.labels,
        names=tuple(listing.names),
        ids=ids,
        fingerprint=fingerprint(chain(ids, [images.fingerprint])),
    )


def _from_listed_folder(path: Path) -> LabelledImages:
    """A folder that says itself which image has which label."""
    listed = read_list(path / FOLDER_LIST)
    _check_against_folder(path, listed.places)
    for place in listed.places:
        inside(path, place)
    images = FileImages(PathsBelow(path, listed.places))
    identities = len(distinct(listed.labels)[0])
    return LabelledImages(
        name=path.resolve().name,
        source=f"{path}: {len(images)} images of {identities} identities, by {FOLDER_LIST}",
        images=images,
        labels=listed.labels,
        names=identity_names(listed.labels, listed.places),
        ids=listed.places,
        fingerprint=fingerprint(
            chain(listed.places, [_bytes_of(listed.labels), images.fingerprint])
        ),
        keys=listed.keys,
        vectors=listed.vectors,
    )


def _check_against_folder(root: Path, places: Sequence[str]) -> None:
    """Check that a folder holds the images its list names, and no others."""
    hashes = Column()
    for place in places:
        hashes.append(hash(place))
    known = sorted_copy(hashes.numbers)
    seen = column(len(known), np.bool_)
    extra, first = 0, ""
    for folder, _, names in os.walk(root):
        below = folder.removeprefix(os.fspath(root)).lstrip(os.sep)
        here = [f"{below}/{name}" if below else name for name in names]
        wanted = np.fromiter(map(hash, here), np.int64, len(here))
        at = np.searchsorted(known, wanted).clip(max=len(known) - 1)
        is_listed = known[at] == wanted
        seen[at[is_listed]] = True
        for i in np.flatnonzero(~is_listed).tolist():
            if is_image_name(names[i]):
                extra, first = extra + 1, min(first or here[i], here[i])
    for part in blocks(len(known)):
        unseen = ~seen[np.searchsorted(known, hashes.numbers[part])]
        for i in (np.flatnonzero(unseen) + part.start).tolist():
            if not (root / places[i]).is_file():
                raise FacekdError(
                    f"{root / FOLDER_LIST} lists {places[i]}, which is not there; put it back, or "
                    "delete the list, and labels go by the folders' names."
                )
    if extra:
        raise FacekdError(
            f"{root / FOLDER_LIST} does not list {first} ({extra} such); list or move it, or "
            "delete the list, and labels go by the folders' names."
        )


def _bytes_of(numbers: NDArray[np.int64]) -> memoryview:
    """The same on every machine, for a fingerprint."""
    return np.ascontiguousarray(numbers, dtype="<i8").data.cast("B")


def from_records(path: Path, files: Sequence[Path], on_bad_record: OnBad) -> LabelledImages:
    """The images of these `.rec` files under a path's name.

    Where each has a `.lst` beside it, names are theirs.

    Raises:
        FacekdError: As `open_records`, or a list belongs to another file.
    """
    records = open_records(path, files, on_bad_record)
    stats = [file.stat() for file in files]
    identities = len(distinct(records.labels)[0])
    words = (f"{stat.st_size} {stat.st_mtime_ns}" for stat in stats)
    tables = map(_bytes_of, (records.keys, records.labels))
    found = LabelledImages(
        name=records.path.stem,
        source=f"{records.path}: {len(records)} images of {identities} identities, by label",
        images=RecordImages(records),
        labels=records.labels,
        names=None,
        ids=Digits(records.keys),
        fingerprint=fingerprint(chain(words, tables)),
        keys=records.keys,
    )
    lists = lists_beside(records)
    return _named_by(lists, found) if lists else found


def lists_beside(records: FaceRecords) -> list[tuple[Path, int]]:
    """The `.lst` of every part with what its record ids are raised by; none if one lacks it."""
    lists = [(part.with_suffix(".lst"), base) for part, base in records.parts()]
    return lists if all(path.is_file() for path, _ in lists) else []


def _named_by(lists: list[tuple[Path, int]], found: LabelledImages) -> LabelledImages:
    """Records with the names that the lists beside them give."""
    assert found.keys is not None
    places = Texts()
    ends = np.searchsorted(found.keys, [base for _, base in lists[1:]]).tolist()
    for (path, base), start, end in zip(lists, [0, *ends], [*ends, len(found.keys)], strict=True):
        listed = read_list(path).select(found.keys[start:end] - base)
        other = first_difference(listed.labels, found.labels[start:end])
        if other is not None:
            i = start + other
            raise FacekdError(
                f"{path} gives record {found.keys[i] - base} the label "
                f"{listed.labels[other]}, {found.images.where(i)} has {found.labels[i]}: it "
                "belongs to another file; move it away."
            )
        places = Texts(chain(places, listed.places)) if places else listed.places
    return replace(found, names=identity_names(found.labels, places), ids=places)


def from_shards(path: Path, shards: Sequence[Path]) -> LabelledImages:
    """The images of these shards under a path's name; errors as `read_shards`."""
    from .tar_shards import read_shards

    found = read_shards(shards)
    identities = len(distinct(found.labels)[0])
    images = len(found.images)
    return LabelledImages(
        name=path.stem if path.suffix == ".tar" else path.resolve().name,
        source=f"{path}: {images} images of {identities} identities in {len(shards)} shards",
        images=found.images,
        labels=found.labels,
        names=identity_names(found.labels, found.places),
        ids=found.places,
        fingerprint=fingerprint(
            chain(found.places, [_bytes_of(found.labels), FileImages(shards).fingerprint])
        ),
        keys=found.keys,
        vectors=found.vectors,
    )
