"""Face records: what the records of a `.rec` file mean.

Two layouts are known, told apart by record 0:

* insightface's face2rec: record 0 has labels and no image, `[n + 1, n + 1 + identities]`; images
  are records 1..n; then one record an identity with labels `[start, end)` and no image.
* im2rec: every record is an image, record 0 too.

The bounds in face2rec's header and range records are float32s, exact only up to 2**24. So they
are never used to find anything: the index says which records there are, a record that holds labels
but no image is a range record, and each image's label is read from its own header.
"""

import copy
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import FacekdError
from .columns import (
    Bools,
    Column,
    Int64s,
    blocks,
    column,
    distinct,
    order_of,
    rising,
    rows_where,
    taken,
)
from .record_frames import LENGTH_BITS, LENGTH_MASK, MAGIC, Payload
from .recordio import IRHeader, RecordFile, unpack

_MINUS_ONE = np.float32(-1).view(np.uint32)
MAX_LABEL = 1 << 24


class _Heads(NamedTuple):
    """The first words of some records, one row a record; a label that is no number is -1."""

    flag: Int64s
    label: npt.NDArray[np.float64]
    id: Int64s
    image_bytes: Int64s
    sound: Bools


class FaceRecords:
    """The images of a `.rec` file with their labels, in the order of their record ids.

    Attributes:
        path: The `.rec` file.
        layout: "face2rec" or "im2rec".
        keys: int64 (n,), the images' record ids. Where the `.idx` is missing they are the ids in
            the image headers if those differ from each other, else the records' ordinal numbers.
        offsets: int64 (n,), where the images' records begin, in bytes.
        labels: int64 (n,), the raw labels; of a vector label its first element.
        promised: How many images face2rec's header record speaks of; None where it cannot know
            (im2rec, or too many for a float32). Fewer in fact: the index or the file was cut.
        skipped: Sentences, one for each record left out by `on_bad_record="skip"`.
        skipped_keys: Their record ids.

    Raises:
        FacekdError: The file or its index cannot be read; a record's frame or header is damaged;
            a label is not a whole number from 0 to 2**24 (above, float32s run together). With
            `on_bad_record="skip"` such records are left out instead.
    """

    def __init__(self, path: str | Path, on_bad_record: Literal["error", "skip"] = "error") -> None:
        records = _by_own_ids(RecordFile(path))
        self.path = records.path
        first = _header_record(records)
        self.layout = "im2rec" if first is None else "face2rec"
        self.promised = None
        if first is not None and 1 <= first[0] < MAX_LABEL:
            self.promised = int(first[0]) - 1
        labels, good, bad = _read_labels(records, ranges=self.layout == "face2rec")
        self.skipped: list[str] = []
        for row in bad.tolist():
            reason = _what_is_wrong(records, row)
            if on_bad_record == "error":
                raise FacekdError(f"{reason} (`facekd-data verify {self.path}` lists all.)")
            self.skipped.append(reason)
        self.skipped_keys: list[int] = records.keys[bad].tolist()
        if not good.any():
            raise FacekdError(f"{self.path} holds no images.")
        self._choose(records, labels, _rows(good))

    def _choose(self, records: RecordFile, labels: Int64s, rows: Int64s | slice) -> None:
        self._records = records.select(rows)
        self.keys = self._records.keys
        self.offsets = self._records.offsets
        self.labels = taken(labels, rows)

    def __len__(self) -> int:
        return len(self.keys)

    def encoded(self, i: int) -> Payload:
        """The encoded bytes of the i-th image: a view into the mapped file wherever possible."""
        return self.read(i)[1]

    def read(self, i: int) -> tuple[IRHeader, Payload]:
        """The i-th image's header and encoded bytes."""
        return read_record(self._records, i)

    def where(self, i: int) -> str:
        """Name the i-th image for a message: file, record number, byte offset."""
        return self._records.where(i)

    def take(self, rows: Int64s) -> "FaceRecords":
        """These images alone, for another process."""
        chosen = copy.copy(self)
        chosen.skipped, chosen.skipped_keys = [], []
        chosen._choose(self._records, self.labels, rows)
        return chosen

    def parts(self) -> Iterator[tuple[Path, int]]:
        """The files that hold the records, each with what its own record ids are raised by."""
        yield self.path, 0

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for the labels: how many images each has, in any order."""
        values, counts = distinct(self.labels)
        table = np.stack([values, counts]).astype("<i8")
        return sha256(len(self).to_bytes(8, "little") + table.tobytes()).hexdigest()[:16]


def read_record(records: RecordFile, row: int) -> tuple[IRHeader, Payload]:
    """Read one record's header and image bytes; an error names file, record and byte."""
    payload = records.payload(row)
    try:
        return unpack(payload)
    except FacekdError as error:
        raise FacekdError(f"{records.where(row)}: {error}") from None


def check_image_record(where: str, header: IRHeader, image: Payload) -> None:
    """Check that a record has a class label and image bytes.

    Args:
        where: The record's name for the message.
        header: Its header.
        image: Its image bytes, not decoded here.

    Raises:
        FacekdError: It has not.
    """
    label = header.label if isinstance(header.label, float) else header.label.item(0)
    if not _is_label(np.array([label]))[0]:
        raise FacekdError(
            f"{where} has the label {label:g}: a label is a whole number from 0 to 2**24."
        )
    if not len(image):
        raise FacekdError(f"{where} holds no image bytes.")


def _header_record(records: RecordFile) -> npt.NDArray[np.float32] | None:
    """The labels of record 0 where it is face2rec's header: two or more, and no image."""
    try:
        header, image = read_record(records, 0)
    except FacekdError:
        return None
    if records.keys[0] != 0 or len(image) or isinstance(header.label, float):
        return None
    return header.label if len(header.label) >= 2 else None


def _by_own_ids(records: RecordFile) -> RecordFile:
    """A file without an index by the ids in its image headers, if those are all different."""
    if not records.rebuilt:
        return records
    ids = column(len(records))
    for part, heads in _read_heads(records):
        ids[part] = heads.id
    order = order_of(ids)
    if not rising(taken(ids, order)):
        return records
    records.keys = ids
    return records.select(order)


def _read_labels(records: RecordFile, ranges: bool) -> tuple[Int64s, Bools, Int64s]:
    """Every record's label, whether it is an image's, and the rows of those that are bad.

    Args:
        records: The file.
        ranges: Whether a record may have labels but no image.
    """
    labels, good, bad = column(len(records)), column(len(records), np.bool_), Column()
    for part, heads in _read_heads(records):
        fit = heads.sound & (heads.image_bytes > 0) & _is_label(heads.label)
        labels[part][fit] = heads.label[fit].astype(np.int64)
        good[part] = fit
        other = heads.sound & (heads.flag > 0) & (heads.image_bytes == 0)
        bad.extend(np.flatnonzero(~fit & ~other if ranges else ~fit) + part.start)
    return labels, good, bad.numbers


def _rows(chosen: Bools) -> Int64s | slice:
    """The rows that are chosen; as a slice, which copies nothing, where they are neighbours."""
    first, count = int(chosen.argmax()), int(np.count_nonzero(chosen))
    if chosen[first : first + count].all():
        return slice(first, first + count)
    return rows_where(chosen)


def _read_heads(records: RecordFile) -> Iterator[tuple[slice, _Heads]]:
    """Flag, label and id of every record, and which records these are, a block at a time."""
    words = np.frombuffer(records.data, dtype="<u4", count=len(records.data) // 4)
    for part in blocks(len(records)):
        yield part, _read_block(records, words, part)


def _read_block(records: RecordFile, words: npt.NDArray[np.uint32], part: slice) -> _Heads:
    offsets, size = records.offsets[part], len(records.data)
    first = np.minimum(offsets, size) // 4
    at = np.minimum(first[:, None] + np.arange(9), max(len(words) - 1, 0))
    head = words[at] if len(words) else np.zeros(at.shape, dtype=np.uint32)
    flag = head[:, 2].astype(np.int64)
    length = (head[:, 1] & LENGTH_MASK).astype(np.int64)
    label = _float32(np.where(flag > 0, head[:, 8], head[:, 3]))
    identifier = (head[:, 4] | head[:, 5].astype(np.uint64) << np.uint64(32)).astype(np.int64)
    image_bytes = length - 24 - 4 * flag
    sound = (
        (offsets % 4 == 0)
        & (offsets <= size - 8 - length)
        & (head[:, 0] == MAGIC)
        & (head[:, 1] >> LENGTH_BITS == 0)
        & (image_bytes >= 0)
    )
    for n in np.flatnonzero(head[:, 1] >> LENGTH_BITS == 1):
        try:
            header, image = unpack(records.payload(part.start + int(n)))
        except FacekdError:
            continue
        values = np.atleast_1d(header.label)
        label[n] = _float32(values[:1].astype("<f4").view("<u4"))[0]
        flag[n] = len(values) if np.ndim(header.label) else 0
        identifier[n], image_bytes[n], sound[n] = np.uint64(header.id).view("i8"), len(image), True
    return _Heads(flag, label, identifier, image_bytes, sound)


def _float32(bits: npt.NDArray[np.uint32]) -> npt.NDArray[np.float64]:
    """The float32s of these bits; -1 for one that is no number, of which numpy would warn."""
    numbers = (bits & 0x7FFFFFFF) <= 0x7F800000
    return np.where(numbers, bits, _MINUS_ONE).view("<f4").astype(np.float64)


def _is_label(label: npt.NDArray[np.float64]) -> Bools:
    good: Bools = (label >= 0) & (label <= MAX_LABEL) & (label == np.floor(label))
    return good


def _what_is_wrong(records: RecordFile, row: int) -> str:
    """The sentence for a record that the vectorised check has found bad."""
    try:
        header, image = read_record(records, row)
        check_image_record(records.where(row), header, image)
    except FacekdError as error:
        return str(error)
    raise AssertionError(f"{records.where(row)}: the two checks of a record disagree")
