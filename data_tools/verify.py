"""Reading and decoding everything a data file holds, to find what is bad in it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import FacekdError
from .binfile import read_bin
from .facerec import check_image_record, has_header_record, read_record
from .folder import list_folder
from .images import Encoded, decode_rgb
from .inspect import locate
from .recordio import RecordFile


@dataclass(frozen=True)
class BadRecord:
    """One finding.

    Attributes:
        record: The record number in a `.rec`, the image's number in a `.bin`, the file's name in a
            folder.
        offset: The byte in the `.rec` where the record starts, else None.
        reason: A sentence.
    """

    record: int | str
    offset: int | None
    reason: str


class Verification:
    """Everything that `path` holds, checked one by one: iterate over it.

    Each step gives None for a sound record and a `BadRecord` for a bad one; `len()` is the number
    of steps.

    Raises:
        FacekdError: The file, its index or the folder cannot be read at all.
    """

    def __init__(self, path: str | Path) -> None:
        self._check: Callable[[int], BadRecord | None]
        kind, path = locate(path)
        if kind == "rec":
            records = RecordFile(path)
            self._length = len(records)
            self._check = partial(_check_record, records, has_header_record(records))
        elif kind == "bin":
            images = read_bin(path).encoded
            self._length, self._check = len(images), partial(_check_image, images)
        else:
            files = list_folder(path).paths
            self._length, self._check = len(files), partial(_check_file, files, path)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[BadRecord | None]:
        return map(self._check, range(self._length))


def _check_record(records: RecordFile, with_header: bool, i: int) -> BadRecord | None:
    try:
        header, image = read_record(records, i)
        if not (with_header and np.ndim(header.label) and not len(image)):
            check_image_record(records.where(i), header, image)
            decode_rgb(image)
    except FacekdError as error:
        reason = str(error).removeprefix(records.where(i)).lstrip(": ")
        return BadRecord(int(records.keys[i]), int(records.offsets[i]), reason)
    return None


def _check_image(images: list[Encoded], i: int) -> BadRecord | None:
    try:
        decode_rgb(images[i])
    except FacekdError as error:
        return BadRecord(i, None, str(error))
    return None


def _check_file(files: list[Path], root: Path, i: int) -> BadRecord | None:
    try:
        decode_rgb(files[i].read_bytes())
    except FacekdError as error:
        reason = str(error)
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}."
    else:
        return None
    return BadRecord(str(files[i].relative_to(root)), None, reason)
