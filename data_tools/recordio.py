"""MXNet's RecordIO, read and written without MXNet: `.rec` and its text index `.idx`.

A record is one part, or several where its payload contains the magic word at a multiple of four::

    part     magic (u32 0xced7230a) | cflag (3 bits) and length (29 bits) | bytes | zeros up to 4
    cflag    0 whole, 1 first, 2 middle, 3 last; the magic word that stood between two parts is
             left out of the file and put back by the reader

The payload of an image record starts with an `IRHeader`: flag u32, label f32, id u64, id2 u64, and,
where flag > 0, that many f32 labels which stand in for the scalar one. All of it little-endian.
"""

import copy
import mmap
import re
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import FacekdError
from ..files import atomic_path

MAGIC = 0xCED7230A
LENGTH_BITS = 29
LENGTH_MASK = (1 << LENGTH_BITS) - 1

_BUFFER = 1 << 20
_MAGIC_BYTES = struct.pack("<I", MAGIC)
_FRAME = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")

Payload = bytes | memoryview


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
        self.data = self._map()
        index = self.path.with_suffix(".idx")
        self.rebuilt = not index.is_file()
        if self.rebuilt:
            offsets = self._scan()
            keys = np.arange(len(offsets), dtype=np.int64)
        else:
            keys, offsets = read_index(index)
        order = np.argsort(keys, kind="stable")
        self.keys, self.offsets = keys[order], offsets[order]
        twice = np.flatnonzero(self.keys[1:] == self.keys[:-1])
        if len(twice):
            raise FacekdError(f"{index} lists the record {self.keys[twice[0]]} more than once.")

    @classmethod
    def with_entries(
        cls, path: str | Path, keys: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
    ) -> "RecordFile":
        """The file with these entries in this order, whatever its `.idx` says of it."""
        records = cls.__new__(cls)
        records.path, records.rebuilt = Path(path), False
        records.keys, records.offsets = keys, offsets
        records.data = records._map()
        return records

    def __len__(self) -> int:
        return len(self.keys)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "data"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.data = self._map()

    def select(self, rows: npt.NDArray[np.int64]) -> "RecordFile":
        """The same file with only these entries of the index, in this order."""
        chosen = copy.copy(self)
        chosen.keys, chosen.offsets = self.keys[rows], self.offsets[rows]
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
            start, end, cflag = self._part(at)
            if not cflag:
                return self.data[start:end]
            return self._join(start, end, cflag)
        except FacekdError as error:
            raise FacekdError(f"{self.where(i)}: {error}") from None

    def _map(self) -> memoryview:
        try:
            with self.path.open("rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            raise FacekdError(f"cannot read {self.path}: {error.strerror or error}.") from error
        except ValueError as error:
            raise FacekdError(f"{self.path} is empty: copy it again.") from error

    def _part(self, at: int) -> tuple[int, int, int]:
        """The part at byte `at`: start and end of its bytes, and its cflag."""
        start = at + 8
        if start > len(self.data):
            raise FacekdError(
                f"byte {at} lies past the end of the file ({len(self.data)} bytes): the file is "
                "cut short or the index belongs to another one; copy both again."
            )
        magic, word = _FRAME.unpack_from(self.data, at)
        if magic != MAGIC or at & 3:
            raise FacekdError(
                f"no record starts at byte {at} (found {magic:#010x} instead of {MAGIC:#010x}): "
                "the file is damaged or the index belongs to another one."
            )
        end = start + (word & LENGTH_MASK)
        if end > len(self.data):
            raise FacekdError(
                f"the record reaches to byte {end}, the file only to {len(self.data)}: "
                "it was cut short; copy it again."
            )
        return start, end, word >> LENGTH_BITS

    def _join(self, start: int, end: int, cflag: int) -> bytes:
        """Join the parts of a record whose first part is given, the magic word between them."""
        if cflag != 1:
            raise FacekdError(f"it begins with a part of kind {cflag}, the middle of a record.")
        parts = [bytes(self.data[start:end])]
        while cflag != 3:
            start, end, cflag = self._part(end + (-end & 3))
            if cflag not in (2, 3):
                raise FacekdError(
                    f"a part of kind {cflag} follows at byte {start - 8}, not 2 or 3."
                )
            parts.append(bytes(self.data[start:end]))
        return _MAGIC_BYTES.join(parts)

    def end(self, at: int) -> int:
        """The byte behind the record that starts at byte `at`: behind all its parts and padding.

        Raises:
            FacekdError: No whole record starts there.
        """
        _, end, cflag = self._part(at)
        if cflag > 1:
            raise FacekdError(f"a part of kind {cflag} stands out of order at byte {at}.")
        while cflag in (1, 2):
            at = end + (-end & 3)
            if at == len(self.data):
                raise FacekdError(
                    "its last part is missing: the file was cut short; copy it again."
                )
            _, end, cflag = self._part(at)
            if cflag not in (2, 3):
                raise FacekdError(f"a part of kind {cflag} stands out of order at byte {at}.")
        return end + (-end & 3)

    def _scan(self) -> npt.NDArray[np.int64]:
        """Walk through the whole file and note where records start."""
        offsets: list[int] = []
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
        return np.array(offsets, dtype=np.int64)


def read_index(path: Path) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Read a `.idx` file: lines of key, tab, byte offset.

    Returns:
        keys and offsets, int64 (n,), in the file's order.

    Raises:
        FacekdError: A line is not of that form, or there is none.
    """
    try:
        text = path.read_bytes().replace(b"\r\n", b"\n")
    except OSError as error:
        raise FacekdError(f"cannot read {path}: {error.strerror or error}.") from error
    if text and not text.endswith(b"\n"):
        text += b"\n"
    shape = text.translate(None, b"0123456789")
    if shape == b"\t\n" * (len(shape) // 2) and shape:
        numbers = np.fromstring(text.decode("ascii"), dtype=np.int64, sep=" ")
        if len(numbers) == len(shape):
            return numbers[0::2], numbers[1::2]
    lines = text.split(b"\n")
    bad = next(n for n, line in enumerate(lines) if not re.fullmatch(rb"\d+\t\d+", line))
    raise FacekdError(
        f"{path} line {bad + 1} is not 'key<tab>offset' ({lines[bad][:40]!r}): delete the file and "
        "the index is rebuilt from the .rec."
    )


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
        if len(payload) > LENGTH_MASK:
            raise FacekdError(f"record {key} has {len(payload)} bytes; RecordIO ends at 2**29 - 1.")
        self._index.write(b"%d\t%d\n" % (key, self._at))
        parts = _split(payload)
        for n, part in enumerate(parts):
            cflag = 0 if len(parts) == 1 else 1 if n == 0 else 3 if n == len(parts) - 1 else 2
            self._file.write(_FRAME.pack(MAGIC, cflag << LENGTH_BITS | len(part)))
            self._file.write(part)
            self._at += _FRAME.size + len(part)
        padding = -self._at & 3
        self._file.write(bytes(padding))
        self._at += padding


def _split(payload: bytes) -> Sequence[bytes]:
    """Cut a payload at each magic word that starts at a multiple of four, leaving the word out."""
    parts = []
    start, found = 0, payload.find(_MAGIC_BYTES)
    while found >= 0:
        if found % 4 == 0:
            parts.append(payload[start:found])
            start = found + 4
        found = payload.find(_MAGIC_BYTES, start if found % 4 == 0 else found + 1)
    return [*parts, payload[start:]]
