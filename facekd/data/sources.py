"""Where training images come from: a `.rec`, a folder, tar shards, or drawn synthetic faces."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facekd.data_tools.file_images import FileImages
from facekd.data_tools.labelled import (
    LabelledImages,
    OnBad,
    RecordImages,
    from_records,
    lists_beside,
    open_labelled,
)
from facekd.data_tools.lst import read_list
from facekd.data_tools.record_parts import find_records, open_records
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.data_tools.tar_shards import find_shards
from facekd.errors import FacekdError
from facekd.fingerprint import fingerprint

_HEAD = 1 << 16  # bytes of a part


class Source(Protocol):
    """Labelled images in a fixed order, before any selection.

    Attributes:
        names: Identity names; the raw label of an image is a position in it.
        labels: int64 (n,), raw labels; -1 where the identity is not known.
        index: int64 (n,), stable record ids: they do not depend on any selection.
        label_space: What makes identity names of this source unlike equal ones of another.
        fingerprint: Short hash of what the source holds.
        skipped: Damaged records that were left out on opening, one sentence each.
    """

    names: tuple[str, ...]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    label_space: str
    fingerprint: str
    skipped: tuple[str, ...]

    def image(self, i: int) -> NDArray[np.uint8]:
        """Image `i` as uint8 RGB (h, w, 3).

        Raises:
            FacekdError: It does not decode; the message says where it stands.
        """
        ...

    def called(self) -> tuple[Sequence[str], Sequence[str]]:
        """What lists call each image, and each identity: as `facekd.data_tools.labelled` does.

        Raises:
            FacekdError: A list of names beside the images cannot be read.
        """
        ...

    def called_skipped(self) -> Sequence[str]:
        """What lists call the images that `skipped` tells of; errors as `called`."""
        ...


class RecSource:
    """A `.rec` file, or several as one; identities are named by their label.

    Args:
        path: What they are called by together.
        files: One or more.
        on_bad_record: With "skip" damaged records are left out.
    """

    def __init__(self, path: Path, files: Sequence[Path], on_bad_record: OnBad) -> None:
        self.records = open_records(path, files, on_bad_record)
        self.images = RecordImages(self.records)
        self.skipped = tuple(self.records.skipped)
        values, self.labels = np.unique(self.records.labels, return_inverse=True)
        self.names = tuple(str(v) for v in values)
        self.index = self.records.keys
        self.label_space = self.records.fingerprint
        self.fingerprint = self._fingerprint(files)
        self._files, self._on_bad_record = tuple(files), on_bad_record

    def _fingerprint(self, files: Sequence[Path]) -> str:
        places = self.records.offsets.tobytes()
        sizes = [str(file.stat().st_size) for file in files]
        heads = []
        if len(files) > 1:  # parts of equal size may change places
            for file in files:
                with file.open("rb") as opened:
                    heads.append(opened.read(_HEAD))
        return fingerprint([self.label_space, *sizes, places, *heads])

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        return self.images[i]

    def called(self) -> tuple[Sequence[str], Sequence[str]]:
        """See `Source.called`; lists beside the files may know names."""
        found = from_records(self.records.path, self._files, self._on_bad_record)
        return found.ids, _identity_names(found)

    def called_skipped(self) -> Sequence[str]:
        """See `Source.called_skipped`."""
        keys = self.records.skipped_keys
        lists = lists_beside(self.records) if keys else []
        if not lists:
            return [str(key) for key in keys]
        places: dict[int, str] = {}
        for path, base in lists:
            listed = read_list(path)
            places |= zip((base + listed.keys).tolist(), listed.places, strict=True)
        return [places[key] for key in keys if key in places]


class Complete:
    """A source of which nothing is ever left out on opening."""

    skipped: tuple[str, ...] = ()

    def called_skipped(self) -> Sequence[str]:
        """See `Source.called_skipped`."""
        return ()


class NamedSource(Complete):
    """An image folder or tar shards; identities have their own names."""

    def __init__(self, path: Path) -> None:
        found = open_labelled(path)
        self.images, self._ids = found.images, found.ids
        self.labels = np.unique(found.labels, return_inverse=True)[1]
        self.names = _identity_names(found)
        self.index = np.arange(len(self.labels), dtype=np.int64)
        self.label_space = "" if found.names else found.fingerprint
        self.fingerprint = found.fingerprint
        if isinstance(found.images, FileImages):  # a copy of a folder has other times
            sizes = (f"{p.relative_to(path)} {p.stat().st_size}" for p in found.images.paths)
            self.fingerprint = fingerprint(sizes)

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        return self.images[i]

    def called(self) -> tuple[Sequence[str], Sequence[str]]:
        """See `Source.called`."""
        return self._ids, self.names


def _identity_names(found: LabelledImages) -> tuple[str, ...]:
    """The names of the labels that occur, or their digits."""
    labels = np.unique(found.labels).tolist()
    return tuple(str(label) if found.names is None else found.names[label] for label in labels)


class SyntheticSource(Complete):
    """Drawn faces; the seed names them."""

    def __init__(self, identities: int, images_per_identity: int, size: int, seed: int) -> None:
        self.faces = SyntheticFaces(identities, images_per_identity, size, seed, split="train")
        self.names = tuple(f"synthetic-{k}" for k in range(identities))
        self.labels = self.faces.labels
        self.index = np.arange(len(self.faces), dtype=np.int64)
        self.label_space = f"synthetic:{seed}"
        self.fingerprint = f"synthetic:{seed}:{identities}x{images_per_identity}:{size}"

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        return self.faces.image(i)

    def called(self) -> tuple[Sequence[str], Sequence[str]]:
        """See `Source.called`."""
        return [str(i) for i in range(len(self.faces))], self.names


def open_files(paths: str | Sequence[str], on_bad_record: OnBad, key: str) -> Source:
    """The images of a path: `.rec` files, an image folder, or tar shards; or of several `.rec`.

    Args:
        paths: Where they are: a file, a folder or a pattern, or several `.rec` files or such.
        on_bad_record: With "skip" damaged records of a `.rec` are left out.
        key: The recipe's key, for the message.

    Raises:
        FacekdError: There is no such file or folder, or it is of no known kind.
    """
    if not isinstance(paths, str):
        return _open_several([Path(path).expanduser() for path in paths], on_bad_record, key)
    path = Path(paths).expanduser()
    records = find_records(path)
    if records:
        return RecSource(path, records, on_bad_record)
    if path.is_dir() or find_shards(path):
        return NamedSource(path)
    what = "does not exist" if not path.exists() else "is of no known kind"
    raise FacekdError(
        f"{key}: {path} {what}; name a .rec file, a folder of name/*.jpg, or tar shards."
    )


def _open_several(paths: Sequence[Path], on_bad_record: OnBad, key: str) -> Source:
    files = []
    for path in paths:
        found = find_records(path)
        if not found:
            what = "is no .rec file" if path.exists() else "does not exist"
            raise FacekdError(
                f"{key}: {path} {what}; a list names .rec files with joint labels; other sets "
                "are put together with facekd-data merge."
            )
        files += found
    return RecSource(
        Path(os.path.commonpath([file.absolute().parent for file in files])), files, on_bad_record
    )
