"""MXNet's RecordIO, read and written without MXNet: `.rec` and its text index `.idx`.

How a record lies in the file is told in `record_frames`. The payload of an image record starts with
an `IRHeader`: flag u32, label f32, id u64, id2 u64, and, where flag > 0, that many f32 labels which
stand in for the scalar one. All of it little-endian.
"""

import copy
import struct
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import FacekdError
from ..files import atomic_path
from .columns import Column, Int64s, numbered, order_of, repeated, rising, taken
from .mapped_file import map_file
from .record_frames import Payload, frame, record_end, record_payload
from .record_index import read_index

_BUFFER = 1 << 20
_HEADER = struct.Struct("<IfQQ")


class IRHeader(NamedTuple):
    """The header of an image record; `label` is a scalar or a vector of float32s."""

    label: float | npt.NDArray[np.float32]
    id: int
    id2: int = 0


def pack(header: IRHeader, image: bytes) -> bytes:
    """Put header and image bytes together as a record's payload."""
    if isinstance(header.label, np.ndarray):
        labels = header.label.astype("<f4").tobytes()
        return _HEADER.pack(len(labels) // 4, 0.0, header.id, header.id2) + labels + image
    return _HEADER.pack(0, header.label, header.id, header.id2) + image


def unpack(payload: Payload) -> tuple[IRHeader, Payload]:
    """Split a payload into its header and the image bytes (a view where the payload is one).

    Raises:
        FacekdError: The payload is too short for the header, or for the labels it promises.
    """
    if len(payload) < _HEADER.size:
        raise FacekdError(
            f"a payload of {len(payload)} bytes is shorter than the image header, 24 bytes."
        )
    flag, label, identifier, id2 = _HEADER.unpack_from(payload)
    if not flag:
        return IRHeader(label, identifier, id2), payload[_HEADER.size :]
    end = _HEADER.size + 4 * flag
    if end > len(payload):
        raise FacekdError(
            f"a payload of {len(payload)} bytes cannot hold the {flag} labels it promises."
        )
    labels = np.frombuffer(payload[_HEADER.size : end], "<f4").astype(np.float32)
    return IRHeader(labels, identifier, id2), payload[end:]


class RecordFile:
    """A `.rec` file, memory-mapped, with its index; sent to another process, it maps anew.

    Opening checks the index itself (its lines, doubled keys). What the index points at is checked
    by each read, so that one bad record does not hide the others.

    Attributes:
        path: The `.rec` file.
        keys: int64 (n,), the index's keys, ascending: the stable ids of the records.
        offsets: int64 (n,), the byte where each record starts.
        rebuilt: There was no `.idx`: the keys are the records' ordinal numbers.
        data: The whole file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.data = map_file(self.path)
        index = self.path.with_suffix(".idx")
        self.rebuilt = not index.is_file()
        if self.rebuilt:
            offsets = self._scan()
            keys = numbered(len(offsets))
        else:
            keys, offsets = read_index(index)
        if not rising(keys):
            order = order_of(keys)
            keys, offsets = taken(keys, order), taken(offsets, order)
            if twice := repeated(keys):
                raise FacekdError(f"{index} lists the record {twice[0]} more than once.")
        self.keys, self.offsets = keys, offsets

    @classmethod
    def with_entries(cls, path: str | Path, keys: Int64s, offsets: Int64s) -> "RecordFile":
        """The file with these entries in this order, whatever its `.idx` says of it."""
        records = cls.__new__(cls)
        records.path, records.rebuilt = Path(path), False
        records.keys, records.offsets = keys, offsets
        records.data = map_file(records.path)
        return records

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "data"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.data = map_file(self.path)

    def select(self, rows: Int64s | slice) -> "RecordFile":
        """The same file with only these entries of the index, in this order."""
        chosen = copy.copy(self)
        chosen.keys, chosen.offsets = taken(self.keys, rows), taken(self.offsets, rows)
        return chosen

    def where(self, i: int) -> str:
        """Name the i-th record for a message: file, record number, byte offset."""
        return f"{self.path.name} record {self.keys[i]} at byte {self.offsets[i]}"

    def payload(self, i: int) -> Payload:
        """The i-th record's bytes: a view into the file, or bytes where parts were joined.

        Raises:
            FacekdError: Past the end of the file, not aligned, no magic word, or a part that is
                cut short or out of order.
        """
        at = self.offsets.item(i)
        try:
            return record_payload(self.data, at)
        except FacekdError as error:
            raise FacekdError(f"{self.where(i)}: {error}") from None

    def end(self, at: int) -> int:
        """The byte behind the record that starts at byte `at`; see `record_frames.record_end`."""
        return record_end(self.data, at)

    def _scan(self) -> Int64s:
        """Walk through the whole file and note where records start."""
        offsets = Column()
        at = 0
        while at < len(self.data):
            try:
                end = self.end(at)
            except FacekdError as error:
                raise FacekdError(
                    f"{self.path.name} record {len(offsets)} at byte {at}: {error} "
                    "(There is no .idx to go by.)"
                ) from None
            offsets.append(at)
            at = end
        return offsets.numbers


class RecordWriter:
    """Write a `.rec` and its `.idx`; both appear when the `with` block ends without an error.

    Payloads are written as they are; only those which contain the magic word at a multiple of
    four are split, as dmlc-core does it, so that MXNet reads the file.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._at = 0
        self._stack = ExitStack()

    def __enter__(self) -> "RecordWriter":
        with ExitStack() as stack:
            index = stack.enter_context(atomic_path(self.path.with_suffix(".idx")))
            self._index = stack.enter_context(index.open("wb", buffering=_BUFFER))
            records = stack.enter_context(atomic_path(self.path))
            self._file = stack.enter_context(records.open("wb", buffering=_BUFFER))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        if error is not None:
            return self._stack.__exit__(kind, error, trace)
        with self._stack:
            # Between the two renames a crash must not leave the new .rec with the old .idx.
            self.path.with_suffix(".idx").unlink(missing_ok=True)
        return None

    def write(self, key: int, payload: bytes) -> None:
        """Append one record."""
        self.append(key, frame(key, payload))

    def append(self, key: int, framed: bytes) -> None:
        """Append one record as `frame` makes it."""
        self._index.write(b"%d\t%d\n" % (key, self._at))
        self._file.write(framed)
        self._at += len(framed)
