"""Numbers of which there is one an image: where they are many, in a temporary file, not in memory.

The file has no name and goes with the last array that looks into it. It lies in the folder that
TMPDIR names (a disk, if memory is to be saved) and is mapped: the system keeps of it in memory what
is looked at, and puts the rest away when memory is wanted for something else. What works through a
column goes by blocks, so that no second one comes to be in memory on the way.
"""

import mmap
import os
import tempfile
from array import array
from collections.abc import Iterator
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import FacekdError

Int64s = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

_BLOCK = 1 << 14  # numbers that are in memory at a time; a column that is no longer has no file
_DTYPES: dict[str, np.dtype[Any]] = {
    "q": np.dtype(np.int64),
    "f": np.dtype(np.float32),
    "B": np.dtype(np.uint8),
}


def column(count: int, dtype: npt.DTypeLike = np.int64) -> npt.NDArray[Any]:
    """An array of zeros, (count,).

    Raises:
        FacekdError: The folder for temporary files has no room for it.
    """
    kind = np.dtype(dtype)
    if count <= _BLOCK:
        return np.zeros(count, dtype=kind)
    try:
        with tempfile.TemporaryFile() as file:
            # Room is taken now: a full disk would end a write through the mapping with a signal.
            os.posix_fallocate(file.fileno(), 0, count * kind.itemsize)
            return _mapped(file, count, kind)
    except OSError as error:
        raise _no_room(error) from error


class Column:
    """A column that grows at its end; picklable.

    Args:
        kind: "q" for int64, "f" for float32, "B" for bytes.
    """

    def __init__(self, kind: Literal["q", "f", "B"] = "q") -> None:
        self._kind = kind
        self._tail: array[Any] = array(kind)
        self._stored = 0
        self._file: IO[bytes] | None = None
        self._seen: npt.NDArray[Any] | None = None

    def __len__(self) -> int:
        return self._stored + len(self._tail)

    def append(self, number: float) -> None:
        """Add one at the end.

        Raises:
            FacekdError: The folder for temporary files has no room for it.
        """
        self._tail.append(number)
        self._seen = None
        if len(self._tail) > _BLOCK:
            self._store()

    def extend(self, numbers: npt.NDArray[Any] | bytes) -> None:
        """Add some at the end, of the column's own dtype; errors as `append`."""
        self._tail.frombytes(numbers if isinstance(numbers, bytes) else numbers.tobytes())
        self._seen = None
        if len(self._tail) > _BLOCK:
            self._store()

    @property
    def numbers(self) -> npt.NDArray[Any]:
        """All of them, (n,); not to be held while more are added."""
        if self._seen is None:
            if self._file is None:
                self._seen = np.array(self._tail, dtype=_DTYPES[self._kind])
            else:
                self._store()
                self._seen = _mapped(self._file, self._stored, _DTYPES[self._kind])
        return self._seen

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._kind, self.numbers.tobytes())

    def _store(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile()  # noqa: SIM115 (it lives as long as we do)
            self._file.write(self._tail)
            self._file.flush()
        except OSError as error:
            raise _no_room(error) from error
        self._stored += len(self._tail)
        self._tail = array(self._kind)


def blocks(count: int) -> Iterator[slice]:
    """A column's rows, so many at a time as fit into memory."""
    return (slice(at, min(at + _BLOCK, count)) for at in range(0, count, _BLOCK))


def numbered(count: int, first: int = 0) -> Int64s:
    """first, first + 1, ...: (count,)."""
    numbers = column(count)
    for part in blocks(count):
        numbers[part] = np.arange(first + part.start, first + part.stop)
    return numbers


def taken(numbers: npt.NDArray[Any], rows: Int64s | slice) -> npt.NDArray[Any]:
    """The numbers of these rows; of a slice a view."""
    if isinstance(rows, slice):
        return numbers[rows]
    chosen = column(len(rows), numbers.dtype)
    for part in blocks(len(rows)):
        chosen[part] = numbers[rows[part]]
    return chosen


def rows_where(mask: Bools) -> Int64s:
    """The rows at which a column of truth values is true."""
    rows = Column()
    for part in blocks(len(mask)):
        rows.extend(np.flatnonzero(mask[part]) + part.start)
    return rows.numbers


def first_difference(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> int | None:
    """The first row at which two columns of one length differ; None where they are equal."""
    for part in blocks(len(one)):
        differ = one[part] != other[part]
        if differ.any():
            return int(part.start + differ.argmax())
    return None


def rising(numbers: npt.NDArray[Any]) -> bool:
    """Whether each number is greater than the one before."""
    return all((now > before).all() for _, now, before in _neighbours(numbers))


def changes(numbers: npt.NDArray[Any]) -> Int64s:
    """The rows, from row 1 on, whose number is not that of the row before."""
    rows = Column()
    for first, now, before in _neighbours(numbers):
        rows.extend(np.flatnonzero(now != before) + first)
    return rows.numbers


def repeated(in_order: Int64s) -> list[int]:
    """The numbers that a sorted column holds more than once, in order."""
    found: dict[int, None] = {}
    for _, now, before in _neighbours(in_order):
        found |= dict.fromkeys(now[now == before].tolist())
    return list(found)


def sorted_copy(numbers: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The numbers in order, in a column of their own."""
    copied = column(len(numbers), numbers.dtype)
    for part in blocks(len(numbers)):
        copied[part] = numbers[part]
    copied.sort()  # in its place
    return copied


def order_of(numbers: Int64s) -> Int64s:
    """The rows by their numbers, those of equal ones in their order."""
    if numbers.min(initial=0) < 0 or numbers.max(initial=0) >= 1 << 31:
        return np.argsort(numbers, kind="stable")  # no room for the row beside such numbers
    rows = column(len(numbers))
    for part in blocks(len(numbers)):
        rows[part] = numbers[part] << 32 | np.arange(part.start, part.stop)
    rows.sort()
    for part in blocks(len(numbers)):
        rows[part] &= (1 << 32) - 1
    return rows


def distinct(labels: Int64s) -> tuple[Int64s, Int64s]:
    """The labels that occur, in order, and how often each does; labels are not negative."""
    if len(labels) <= _BLOCK:
        return np.unique(labels, return_counts=True)
    counts = column(int(labels.max()) + 1)
    for part in blocks(len(labels)):
        values, times = np.unique(labels[part], return_counts=True)
        counts[values] += times
    values = rows_where(counts > 0)
    return values, counts[values]


def _neighbours(
    numbers: npt.NDArray[Any],
) -> Iterator[tuple[int, npt.NDArray[Any], npt.NDArray[Any]]]:
    """By blocks: the first block's row, the numbers from it on, and those of the rows before."""
    for part in blocks(max(len(numbers) - 1, 0)):
        yield part.start + 1, numbers[part.start + 1 : part.stop + 1], numbers[part]


def _mapped(file: IO[bytes], count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    return np.frombuffer(mmap.mmap(file.fileno(), count * dtype.itemsize), dtype)


def _unpickled(kind: Literal["q", "f", "B"], numbers: bytes) -> Column:
    column = Column(kind)
    column.extend(numbers)
    return column


def _no_room(error: OSError) -> FacekdError:
    return FacekdError(
        f"cannot keep the list of images in the folder for temporary files, {tempfile.gettempdir()}"
        f": {error.strerror or error}; let TMPDIR name a folder with more room."
    )
