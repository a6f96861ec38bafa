"""A `.rec` with `.idx`, `.lst` and `property`, image after image."""

from contextlib import ExitStack
from itertools import chain, pairwise
from pathlib import Path
from types import TracebackType
from typing import Literal, NamedTuple

import numpy as np

from ..errors import FacekdError
from .columns import Column, Int64s, changes, distinct, order_of, repeated, rising, taken
from .images import decode_rgb
from .items import Item
from .lst import list_line, whole_label
from .record_frames import frame, record_payload
from .recordio import IRHeader, RecordWriter, pack, unpack
from .texts import plain

Layout = Literal["face2rec", "im2rec"]

_CROP = (112, 112)
_BUFFER = 1 << 20


class FormedRecord(NamedTuple):
    """An image on its way into a `.rec`: its record, framed, and its line of the `.lst`."""

    key: int
    label: int
    record: bytes
    line: bytes


class RecWriter:
    """Write face records in one of the two layouts; the files are whole after the `with` block.

    Args:
        path: The `.rec`.
        layout: See `facerec`.
    """

    def __init__(self, path: Path, layout: Layout) -> None:
        self._path, self._layout = path, layout
        self._keys, self._labels = Column(), Column()
        self._size = _CROP
        self._stack = ExitStack()

    def __enter__(self) -> "RecWriter":
        with ExitStack() as stack:
            self._records = stack.enter_context(RecordWriter(self._path))
            listed = self._path.with_suffix(".lst")
            self._list = stack.enter_context(listed.open("wb", buffering=_BUFFER))
            self._stack = stack.pop_all()
        if self._layout == "face2rec":
            self._records.write(0, _bounds(0, 0, 0))  # the real one needs the counts
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None or not len(self._keys):
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            labels = self._labels.numbers
            starts = self._starts(self._keys.numbers, labels)
            n = len(labels)
            for i, (start, end) in enumerate(pairwise(chain(plain(starts), [n + 1]))):
                self._records.write(n + 1 + i, _bounds(n + 1 + i, start, end))
        if self._layout == "face2rec":
            with self._path.open("r+b") as file:
                file.seek(8)
                file.write(_bounds(0, n + 1, n + 1 + len(starts)))
            height, width = self._size
            text = f"{labels.max() + 1},{height},{width}\n"
            self._path.with_name("property").write_text(text, encoding="ascii")

    @staticmethod
    def form(item: Item, place: str, key: int) -> FormedRecord:
        """An image's record under a number, and its line of the list."""
        label = item.label if item.vector is None else item.vector
        whole_label(item.label)
        record = frame(key, pack(IRHeader(label, key), bytes(item.encoded)))
        return FormedRecord(key, item.label, record, list_line(key, item.label, item.vector, place))

    def append(self, formed: FormedRecord) -> None:
        """Append one image as `form` makes it."""
        if not len(self._keys):
            self._size = _size(formed.record)
        self._records.append(formed.key, formed.record)
        self._list.write(formed.line)
        self._keys.append(formed.key)
        self._labels.append(formed.label)

    def _starts(self, keys: Int64s, labels: Int64s) -> Int64s:
        """Each identity's first record, for face2rec; checks the numbers."""
        if not rising(keys):
            order = order_of(keys)
            keys, labels = taken(keys, order), taken(labels, order)
            if twice := repeated(keys):
                raise FacekdError(f"two images have the record number {twice[0]}.")
        if self._layout == "im2rec":
            return np.empty(0, dtype=np.int64)
        if (keys[0], keys[-1]) != (1, len(keys)):
            raise FacekdError("face2rec numbers its images 1 to n; leave the numbers out.")
        starts = run_starts(labels)
        if len(starts) != len(distinct(labels)[0]):
            raise FacekdError(
                "face2rec keeps an identity's images together, and here they are apart: sort them "
                "by label, or write --layout im2rec."
            )
        return starts + 1


def run_starts(labels: Int64s) -> Int64s:
    """Where each run of equal labels begins, int64."""
    return np.concatenate([np.zeros(1, np.int64), changes(labels)])


def _bounds(key: int, start: int, end: int) -> bytes:
    """The payload of a header or range record."""
    return pack(IRHeader(np.array([start, end], dtype=np.float32), key), b"")


def _size(record: bytes) -> tuple[int, int]:
    """The height and width of the image in a record; a crop's where it does not decode."""
    try:
        height, width = decode_rgb(unpack(record_payload(memoryview(record), 0))[1]).shape[:2]
    except FacekdError:
        return _CROP
    return height, width
