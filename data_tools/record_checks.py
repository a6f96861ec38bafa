"""A `.rec` file checked record by record: frame, header, label, image, and the index against it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..fingerprint import fingerprint
from .facerec import check_image_record, read_record
from .findings import BadRecord
from .lst import ImageList, read_list
from .record_index import read_index
from .record_scan import scan_records
from .recordio import RecordFile
from .strict_decode import decode_strictly

_EXACT = 1 << 24  # below this a float32 is exact
NO_KEY = -1


class RecordChecks:
    """Everything that a `.rec` holds or its `.idx` speaks of, by place in the file.

    A piece is an entry of the index, a record that the index has no entry for, or a stretch of
    bytes that is no record.

    Attributes:
        path: The `.rec` file.
        records: The pieces; one without an entry has the key -1.
        fingerprint: Of the file, its index and its list of names.
        listed: The list of names beside it, where there is one.
        notes: What is odd about the whole but not bad.

    Raises:
        FacekdError: The file cannot be read at all.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self._faults: dict[int, str] = {}  # piece -> what the index says wrong of it
        self._index_fault = ""
        keys, offsets = self._read_index()
        whole = RecordFile.with_entries(path, keys, offsets)
        self._scan = scan_records(whole)
        found = np.concatenate([self._scan.starts, np.array([*self._scan.gaps], dtype=np.int64)])
        without = np.setdiff1d(found, offsets)
        if self._rebuilt:
            keys, offsets = np.arange(len(found), dtype=np.int64), np.sort(found)
        else:
            keys = np.concatenate([keys, np.full(len(without), NO_KEY, dtype=np.int64)])
            offsets = np.concatenate([offsets, without])
        order = np.argsort(offsets, kind="stable")
        self.records = RecordFile.with_entries(path, keys[order], offsets[order])
        self._look_for_repeats()
        self.listed = self._read_list()
        self.is_face2rec = self._check_header_record()
        self.fingerprint = self._stat()

    def __len__(self) -> int:
        return len(self.records) + bool(self._index_fault)

    def check(self, i: int, /) -> BadRecord | None:
        """Check the i-th piece; a bad content is told before a bad entry of the index."""
        if i == len(self.records):
            return BadRecord(None, None, self._index_fault, lost=False)
        offset, key = self.records.offsets.item(i), self.records.keys.item(i)
        record = None if key == NO_KEY else key
        where = self._scan.around(offset)
        if where is not None:
            reason = f"the index points into the middle of the record that starts at byte {where}."
            return BadRecord(record, offset, reason, lost=False)
        reason = self._content_fault(i) or self._list_fault(i)
        if reason:
            return BadRecord(record, offset, reason)
        fault = self._faults.get(i)
        return BadRecord(record, offset, fault, lost=False) if fault else None

    def is_record(self, i: int) -> bool:
        """Whether a record starts where the i-th piece does."""
        return self._scan.around(self.records.offsets.item(i)) is None

    def is_image(self, i: int) -> bool:
        """Whether the i-th piece, known to be sound, is an image and no range or header record."""
        header, image = read_record(self.records, i)
        return len(image) > 0 or not np.ndim(header.label)

    def _content_fault(self, i: int) -> str:
        """What is wrong with the record itself; "" for nothing."""
        offset, where = self.records.offsets.item(i), self.records.where(i)
        if self.records.keys[i] == NO_KEY and offset in self._scan.gaps:
            end = self._scan.gaps[offset]
            return f"the {end - offset} bytes up to byte {end} hold no record that can be read."
        try:
            header, image = read_record(self.records, i)
            if not (self.is_face2rec and np.ndim(header.label) and not len(image)):
                check_image_record(where, header, image)
                decode_strictly(image)
        except FacekdError as error:
            return str(error).removeprefix(where).lstrip(": ")
        if offset in self._scan.overlong:
            return (
                f"its length is wrong: the next record starts at byte "
                f"{self._scan.overlong[offset]}, before this one's end."
            )
        return ""

    def place(self, number: int, label: int) -> str | None:
        """What the list beside the file calls the record of this number, if with this label."""
        row = self._line(number)
        if self.listed is None or row is None or self.listed.labels[row] != label:
            return None
        return self.listed.places[row]

    def _line(self, number: int) -> int | None:
        """The row of the list that names the record of this number."""
        if self.listed is None:
            return None
        row = min(int(np.searchsorted(self.listed.keys, number)), len(self.listed.keys) - 1)
        return row if self.listed.keys[row] == number else None

    def _list_fault(self, i: int) -> str:
        """Where a sound record and its line in the list differ."""
        row = self._line(self.records.keys.item(i))
        if self.listed is None or row is None:
            return ""
        label = np.atleast_1d(np.asarray(read_record(self.records, i)[0].label))[0]
        if not self.is_image(i) or label == self.listed.labels[row]:
            return ""
        return (
            f"it has the label {label:g}, and {self.listed.path.name} gives it "
            f"{self.listed.labels[row]}."
        )

    def _read_list(self) -> ImageList | None:
        path = self.path.with_suffix(".lst")
        if not path.is_file():
            return None
        try:
            return read_list(path)
        except FacekdError as error:
            self.notes.append(f"the list of names is not used: {error}")
            return None

    def _read_index(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        index = self.path.with_suffix(".idx")
        self._rebuilt = True
        none = np.empty(0, dtype=np.int64)
        if not index.is_file():
            self.notes.append(f"there is no {index.name}: records are numbered as they come.")
            return none, none
        try:
            keys, offsets = read_index(index)
        except FacekdError as error:
            self._index_fault = str(error)
            return none, none
        self._rebuilt = False
        for what, values in (("record numbers", keys), ("offsets", offsets)):
            if (np.diff(values) < 0).any():
                self.notes.append(f"the {what} in {index.name} do not rise: a shuffled set.")
        return keys, offsets

    def _look_for_repeats(self) -> None:
        keys, offsets = self.records.keys, self.records.offsets
        for i in np.flatnonzero(keys == NO_KEY).tolist():
            self._faults[i] = "the index has no entry for this record."
        order = np.argsort(keys, kind="stable")
        again = order[1:][(keys[order[1:]] == keys[order[:-1]]) & (keys[order[1:]] != NO_KEY)]
        for i in again.tolist():
            self._faults[i] = f"the index lists the record {keys[i]} more than once."
        for i in (np.flatnonzero(offsets[1:] == offsets[:-1]) + 1).tolist():
            self._faults[i] = f"the index gives the records {keys[i - 1]} and {keys[i]} one place."

    def _check_header_record(self) -> bool:
        """Whether record 0 is face2rec's header, as far as can be seen; what it says is checked."""
        rows = np.flatnonzero(self.records.keys == 0)
        if not len(rows):
            return False
        row = int(rows[0])
        try:
            header, image = read_record(self.records, row)
        except FacekdError:
            return True  # it is told as damaged; range records are not held against im2rec's layout
        if len(image):
            return False
        first, end = np.resize(np.asarray(header.label), 2).tolist()
        here = len(np.unique(self.records.offsets))
        if np.size(header.label) > 1 and 1 <= first <= end < _EXACT and end != here:
            self._faults[row] = (
                f"this header speaks of {end:g} records in all, and there are {here}."
            )
        return True

    def _stat(self) -> str:
        files = [self.path, *(self.path.with_suffix(suffix) for suffix in (".idx", ".lst"))]
        stats = [(file.name, file.stat()) for file in files if file.is_file()]
        return fingerprint(f"{name} {stat.st_size} {stat.st_mtime_ns}" for name, stat in stats)
