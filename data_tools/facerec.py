"""Face records: what the records of a `.rec` file mean.

Two layouts are known, told apart by record 0:

* insightface's face2rec: record 0 has labels and no image, `[n + 1, n + 1 + identities]`; images
  are records 1..n; then one record an identity with labels `[start, end)` and no image.
* im2rec: every record is an image, record 0 too.

The bounds in face2rec's header and range records are float32s, exact only up to 2**24. So they
are never used to find anything: the index says which records there are, a record that holds labels
but no image is a range record, and each image's label is read from its own header.
"""

from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import FacekdError
from .recordio import LENGTH_BITS, LENGTH_MASK, MAGIC, IRHeader, Payload, RecordFile, unpack

_CHUNK = 1 << 16
MAX_LABEL = 1 << 24

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


class _Heads(NamedTuple):
    """The first words of many records, one row a record."""

    flag: Int64s
    label: npt.NDArray[np.float64]
    id: Int64s
    image_bytes: Int64s
    sound: Bools

    def take(self, rows: Int64s) -> "_Heads":
        flag, label, identifier, image_bytes, sound = self
        return _Heads(flag[rows], label[rows], identifier[rows], image_bytes[rows], sound[rows])


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

    Raises:
        FacekdError: The file or its index cannot be read; a record's frame or header is damaged;
            a label is not a whole number from 0 to 2**24 (above, float32s run together). With
            `on_bad_record="skip"` such records are left out instead.
    """

    def __init__(self, path: str | Path, on_bad_record: Literal["error", "skip"] = "error") -> None:
        records = RecordFile(path)
        self.path = records.path
        heads = _read_heads(records)
        if records.rebuilt and len(np.unique(heads.id)) == len(heads.id):
            records.keys = heads.id
            order = np.argsort(heads.id)
            records = records.select(order)
            heads = heads.take(order)
        self.layout = "face2rec" if has_header_record(records) else "im2rec"
        exact = self.layout == "face2rec" and 1 <= heads.label[0] < MAX_LABEL
        self.promised = int(heads.label[0]) - 1 if exact else None
        no_image = heads.sound & (heads.flag > 0) & (heads.image_bytes == 0)
        images = ~no_image if self.layout == "face2rec" else np.ones(len(records), dtype=bool)
        good = heads.sound & (heads.image_bytes > 0) & _is_label(heads.label)
        self.skipped: list[str] = []
        for row in np.flatnonzero(images & ~good):
            reason = _what_is_wrong(records, int(row))
            if on_bad_record == "error":
                raise FacekdError(f"{reason} (`facekd-data verify {self.path}` lists all.)")
            self.skipped.append(reason)
        rows = np.flatnonzero(images & good)
        if not len(rows):
            raise FacekdError(f"{self.path} holds no images.")
        self._records = records.select(rows)
        self.keys = self._records.keys
        self.offsets = self._records.offsets
        self.labels = heads.label[rows].astype(np.int64)

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

    @property
    def fingerprint(self) -> str:
        """16 hex digits that stand for the labels: how many images each has, in any order."""
        values, counts = np.unique(self.labels, return_counts=True)
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
    label = np.atleast_1d(np.asarray(header.label, dtype=np.float64))[:1]
    if not _is_label(label)[0]:
        raise FacekdError(
            f"{where} has the label {label[0]:g}: a label is a whole number from 0 to 2**24."
        )
    if not len(image):
        raise FacekdError(f"{where} holds no image bytes.")


def has_header_record(records: RecordFile) -> bool:
    """Whether record 0 is face2rec's header: two or more labels and no image."""
    try:
        header, image = read_record(records, 0)
    except FacekdError:
        return False
    return bool(records.keys[0] == 0 and np.size(header.label) >= 2 and not len(image))


def _read_heads(records: RecordFile) -> _Heads:
    """Read flag, label and id of every record, a chunk of them at a time."""
    words = np.frombuffer(records.data, dtype="<u4", count=len(records.data) // 4)
    chunks = [
        _read_chunk(records, words, np.arange(at, min(at + _CHUNK, len(records))))
        for at in range(0, len(records), _CHUNK)
    ]
    return _Heads(*(np.concatenate(column) for column in zip(*chunks, strict=True)))


def _read_chunk(records: RecordFile, words: npt.NDArray[np.uint32], rows: Int64s) -> _Heads:
    offsets, size = records.offsets[rows], len(records.data)
    first = np.minimum(offsets, size) // 4
    at = np.minimum(first[:, None] + np.arange(9), max(len(words) - 1, 0))
    head = words[at] if len(words) else np.zeros(at.shape, dtype=np.uint32)
    flag = head[:, 2].astype(np.int64)
    length = (head[:, 1] & LENGTH_MASK).astype(np.int64)
    floats = head.view("<f4").astype(np.float64)
    label = np.where(flag > 0, floats[:, 8], floats[:, 3])
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
            header, image = unpack(records.payload(int(rows[n])))
        except FacekdError:
            continue
        values = np.atleast_1d(header.label)
        label[n], flag[n] = values[0], len(values) if np.ndim(header.label) else 0
        identifier[n], image_bytes[n], sound[n] = np.uint64(header.id).view("i8"), len(image), True
    return _Heads(flag, label, identifier, image_bytes, sound)


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
