"""Where the records of a `.rec` file lie, found without its index and in spite of damage.

The magic word stands at a multiple of four at the head of a part and nowhere else (writers split
payloads that hold it), so after damage the next head of a record is the next magic word.
"""

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .record_frames import LENGTH_BITS, MAGIC
from .recordio import RecordFile

_BLOCK = 1 << 14


@dataclass(frozen=True)
class RecordScan:
    """What a walk through the whole file finds.

    Attributes:
        starts: int64 (n,), rising: the bytes where a whole record starts.
        ends: int64 (n,), the byte behind each, where the next one should start.
        overlong: Start -> where the next record starts before this one's end: its length is wrong.
        gaps: Where bytes begin that belong to no record -> where the next record starts.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    overlong: dict[int, int]
    gaps: dict[int, int]

    def around(self, offset: int) -> int | None:
        """The start of the record that this byte lies in, but does not start."""
        i = int(np.searchsorted(self.starts, offset, side="right")) - 1
        if i >= 0 and self.starts[i] < offset < self.ends[i]:
            return int(self.starts[i])
        return None


def scan_records(records: RecordFile) -> RecordScan:
    """Walk through the file from its first byte to its last; no payload is read."""
    starts, ends = array("q"), array("q")
    overlong: dict[int, int] = {}
    gaps: dict[int, int] = {}
    words = np.frombuffer(records.data, dtype="<u4", count=len(records.data) // 4)
    size, at, searched = len(records.data), 0, 0
    while at < size:
        try:
            end = records.end(at)
        except FacekdError:
            head = _next_head(words, max(searched, starts[-1] + 4 if starts else 0), at, size)
            searched = head + 4
            if head < at:
                overlong[starts[-1]], ends[-1] = head, head
            else:
                gaps[at] = head
            at = head
            continue
        starts.append(at)
        ends.append(end)
        at = end
    return RecordScan(
        np.array(starts, dtype=np.int64), np.array(ends, dtype=np.int64), overlong, gaps
    )


def _next_head(words: NDArray[np.uint32], after: int, broken: int, size: int) -> int:
    """The first byte from `after` on, not `broken`, where a record may start; else the size."""
    for at in range(-(-after // 4), len(words), _BLOCK):
        found = np.flatnonzero(words[at : at + _BLOCK] == MAGIC) + at
        for place in found.tolist():
            kind = int(words[place + 1]) >> LENGTH_BITS if place + 1 < len(words) else 2
            if kind in (0, 1) and 4 * place != broken:
                return 4 * place
    return size
