"""Reading and decoding everything a data file holds, to find what is bad in it."""

from collections.abc import Iterator
from dataclasses import dataclass
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
        kind, path = locate(path)
        if kind == "rec":
            records = RecordFile(path)
            self._length, self._steps = len(records), _records(records)
        elif kind == "bin":
            images = read_bin(path).encoded
            self._length, self._steps = len(images), _images(images)
        else:
            files = list_folder(path).paths
            self._length, self._steps = len(files), _files(files, path)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[BadRecord | None]:
        return self._steps


def _records(records: RecordFile) -> Iterator[BadRecord | None]:
    with_header = has_header_record(records)
    for i in range(len(records)):
        try:
            header, image = read_record(records, i)
            if not (with_header and np.ndim(header.label) and not len(image)):
                check_image_record(records.where(i), header, image)
                decode_rgb(image)
            yield None
        except FacekdError as error:
            reason = str(error).removeprefix(records.where(i)).lstrip(": ")
            yield BadRecord(int(records.keys[i]), int(records.offsets[i]), reason)


def _images(images: list[Encoded]) -> Iterator[BadRecord | None]:
    for i, image in enumerate(images):
        reason = _why_not(image)
        yield BadRecord(i, None, reason) if reason else None


def _files(files: list[Path], root: Path) -> Iterator[BadRecord | None]:
    for file in files:
        try:
            reason = _why_not(file.read_bytes())
        except OSError as error:
            reason = f"cannot be read: {error.strerror or error}."
        yield BadRecord(str(file.relative_to(root)), None, reason) if reason else None


def _why_not(encoded: Encoded) -> str:
    """Why an image does not decode; empty when it does."""
    try:
        decode_rgb(encoded)
    except FacekdError as error:
        return str(error)
    return ""
