"""MXNet's parameter file (.params): arrays by name, read without MXNet."""

import math
import struct
from pathlib import Path

import numpy as np
import numpy.typing as npt

from facekd.errors import FacekdError

LIST_MAGIC = 0x112
ARRAY_MAGIC = 0xF993FAC9
DTYPES = {0: "<f4", 1: "<f8", 2: "<f2", 3: "u1", 4: "<i4", 5: "i1", 6: "<i8"}


class _Reader:
    """Bytes with a position, which says where a file is wrong."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path.read_bytes()
        self.offset = 0

    def wrong(self, what: str) -> FacekdError:
        return FacekdError(
            f"{self.path}: {what} at byte {self.offset}; it is damaged or no MXNet parameter file."
        )

    def take(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.offset:
            raise self.wrong(f"{size} bytes are announced and {self.left} are left")
        self.offset += size
        return self.data[self.offset - size : self.offset]

    @property
    def left(self) -> int:
        return len(self.data) - self.offset

    def numbers(self, layout: str) -> tuple[int, ...]:
        return struct.unpack("<" + layout, self.take(struct.calcsize("<" + layout)))

    def count(self, smallest: int) -> int:
        """A number of things, each of at least `smallest` bytes."""
        (number,) = self.numbers("Q")
        if number * smallest > self.left:
            raise self.wrong(f"{number} entries are announced and {self.left} bytes are left")
        return number


def read_params(path: str | Path) -> dict[str, npt.NDArray[np.generic]]:
    """Read every array of a parameter file.

    The file, little-endian: u64 0x112, u64 0, u64 count; each array u32 0xF993FAC9, i32 storage
    (0 = dense), u32 ndim, ndim x i64 dims, i32 device type and id, i32 dtype, data; then u64 count
    of names, each u64 length and UTF-8 bytes ("arg:..." or "aux:...").

    Returns:
        Name -> array, writable, in the file's order.

    Raises:
        FacekdError: The file is truncated, damaged or of another kind; tells the byte.
    """
    reader = _Reader(Path(path))
    if reader.numbers("QQ") != (LIST_MAGIC, 0):
        reader.offset = 0
        raise reader.wrong("no list of arrays begins")
    arrays = [_array(reader) for _ in range(reader.count(smallest=24))]
    names = []
    for _ in range(reader.count(smallest=8)):
        (length,) = reader.numbers("Q")
        names.append(reader.take(length).decode("utf-8", errors="replace"))
    if len(names) != len(arrays) or len(set(names)) != len(names):
        raise reader.wrong(f"{len(arrays)} arrays have {len(set(names))} different names")
    if reader.left:
        raise reader.wrong(f"{reader.left} bytes too many")
    return dict(zip(names, arrays, strict=True))


def _array(reader: _Reader) -> npt.NDArray[np.generic]:
    magic, storage, ndim = reader.numbers("IiI")
    if magic != ARRAY_MAGIC or storage != 0 or ndim > 8:
        reader.offset -= 12
        raise reader.wrong("no dense array begins")
    dims = reader.numbers(f"{ndim}q")
    _, _, kind = reader.numbers("iii")
    if min(dims, default=1) < 0 or kind not in DTYPES:
        raise reader.wrong(f"an array of shape {dims} and dtype number {kind}")
    dtype = np.dtype(DTYPES[kind])
    data = reader.take(math.prod(dims) * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(dims).copy()
