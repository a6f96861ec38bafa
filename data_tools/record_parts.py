"""Several `.rec` files as one, as large sets come: `part-000.rec`, `part-001.rec`, ..."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import FacekdError
from .columns import Column, Int64s, blocks, taken
from .facerec import FaceRecords
from .mapped_file import MappedFiles
from .numbered_files import find_files
from .record_frames import Payload, record_payload
from .recordio import IRHeader, unpack


class RecordParts(FaceRecords):
    """The images of several `.rec` files, one file's after the other's.

    Labels are joint: a label means the same person in every part. The record ids of a part follow
    those of the parts before it. A part is mapped when one of its images is first read, so that
    there may be more parts than a process may have open files.

    Attributes:
        path: What the parts are called by together.
        layout: That of the parts; "im2rec" where they differ.
        promised: None: no header speaks of all parts.

    Args:
        path: See above.
        files: The parts, in their order.
        on_bad_record: As in `FaceRecords`.

    Raises:
        FacekdError: As `FaceRecords`, or a part is named twice.
    """

    def __init__(
        self, path: Path, files: Sequence[Path], on_bad_record: Literal["error", "skip"] = "error"
    ) -> None:
        _check_twice(files)
        self.path, self.promised = path, None
        self.skipped, self.skipped_keys = [], []
        self._files = MappedFiles(files)
        self._bases = np.zeros(len(files) + 1, np.int64)
        layouts = set()
        keys, offsets, labels, numbers = (Column() for _ in range(4))
        for number, file in enumerate(files):
            part = FaceRecords(file, on_bad_record)
            layouts.add(part.layout)
            base = self._bases.item(number)
            for rows in blocks(len(part)):
                keys.extend(base + part.keys[rows])
                offsets.extend(part.offsets[rows])
                labels.extend(part.labels[rows])
                numbers.extend(np.full(rows.stop - rows.start, number))
            self.skipped += part.skipped
            self.skipped_keys += [base + key for key in part.skipped_keys]
            self._bases[number + 1] = base + 1 + max([int(part.keys.max()), *part.skipped_keys])
        self.layout = layouts.pop() if len(layouts) == 1 else "im2rec"
        self.keys, self.offsets, self.labels = keys.numbers, offsets.numbers, labels.numbers
        self._part = numbers.numbers

    def read(self, i: int) -> tuple[IRHeader, Payload]:
        """See `FaceRecords.read`."""
        try:
            return unpack(record_payload(self._files[self._part.item(i)], self.offsets.item(i)))
        except FacekdError as error:
            raise FacekdError(f"{self.where(i)}: {error}") from None

    def where(self, i: int) -> str:
        """Name the i-th image by its own file, its number there, and its byte."""
        part = self._part.item(i)
        key = self.keys.item(i) - self._bases.item(part)
        return f"{self._files.paths[part].name} record {key} at byte {self.offsets[i]}"

    def take(self, rows: Int64s) -> "RecordParts":
        """See `FaceRecords.take`."""
        chosen = copy.copy(self)
        chosen.skipped, chosen.skipped_keys = [], []
        for name in ("keys", "offsets", "labels", "_part"):
            setattr(chosen, name, taken(getattr(self, name), rows))
        return chosen

    def parts(self) -> Iterator[tuple[Path, int]]:
        """See `FaceRecords.parts`."""
        return zip(self._files.paths, self._bases.tolist()[:-1], strict=True)


def find_records(path: Path) -> list[Path]:
    """The `.rec` files that a path stands for, as `find_files`; none for a name that is not there.

    Raises:
        FacekdError: As `find_files`, of a pattern.
    """
    pattern = any(sign in path.name for sign in "*?{")
    return find_files(path, ".rec") if pattern or path.exists() else []


def open_records(
    path: Path, files: Sequence[Path], on_bad_record: Literal["error", "skip"] = "error"
) -> FaceRecords:
    """One `.rec` file, or several as one; errors as `RecordParts`.

    Args:
        path: What they are called by together.
        files: One or more.
        on_bad_record: As in `FaceRecords`.
    """
    if len(files) == 1:
        return FaceRecords(files[0], on_bad_record)
    return RecordParts(path, files, on_bad_record)


def _check_twice(files: Sequence[Path]) -> None:
    seen: set[Path] = set()
    for file in files:
        if file.resolve() in seen:
            raise FacekdError(f"{file} is named twice among the parts of one set; name it once.")
        seen.add(file.resolve())
