"""The labels of the images that have several, in little memory."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float32]


class LabelVectors(Mapping[int, Vector]):
    """Image -> its labels, float32 (k,); images without several labels cost nothing; picklable."""

    def __init__(self) -> None:
        self._rows = array("q")
        self._ends = array("q", [0])
        self._values = array("f")

    def append(self, row: int, values: Iterable[float]) -> None:
        """Add the labels of an image that stands behind all those which were added before."""
        self._rows.append(row)
        self._values.extend(values)
        self._ends.append(len(self._values))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __getitem__(self, row: int) -> Vector:
        at = bisect_left(self._rows, row)
        if at == len(self._rows) or self._rows[at] != row:
            raise KeyError(row)
        return np.array(self._values[self._ends[at] : self._ends[at + 1]], dtype=np.float32)

    def select(self, rows: npt.NDArray[np.int64]) -> "LabelVectors":
        """The labels of these images, which are counted anew in their order."""
        chosen = LabelVectors()
        if self:
            for i in np.flatnonzero(np.isin(rows, np.frombuffer(self._rows, np.int64))).tolist():
                chosen.append(i, self[rows.item(i)])
        return chosen
