"""The labels of the images that have several, in little memory."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import numpy.typing as npt

from .columns import Column, blocks
from .texts import plain

Vector = npt.NDArray[np.float32]


class LabelVectors(Mapping[int, Vector]):
    """Image -> its labels, float32 (k,); images without several labels cost nothing; picklable."""

    def __init__(self) -> None:
        self._rows, self._ends, self._values = Column(), Column(), Column("f")
        self._ends.append(0)

    def append(self, row: int, values: Iterable[float]) -> None:
        """Add the labels of an image that stands behind all those which were added before."""
        self._rows.append(row)
        with np.errstate(over="ignore"):  # beyond float32 is infinity
            self._values.extend(np.fromiter(values, np.float32))
        self._ends.append(len(self._values))

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[int]:
        return plain(self._rows.numbers)

    def __getitem__(self, row: int) -> Vector:
        rows = self._rows.numbers
        at = int(np.searchsorted(rows, row))
        if at == len(rows) or rows[at] != row:
            raise KeyError(row)
        start, end = self._ends.numbers[at : at + 2].tolist()
        vector: Vector = self._values.numbers[start:end].copy()
        return vector

    def select(self, rows: npt.NDArray[np.int64]) -> "LabelVectors":
        """The labels of these images, which are counted anew in their order."""
        chosen = LabelVectors()
        if self:
            for part in blocks(len(rows)):
                known = self._rows.numbers
                at = np.searchsorted(known, rows[part]).clip(max=len(known) - 1)
                for i in (np.flatnonzero(known[at] == rows[part]) + part.start).tolist():
                    chosen.append(i, self[rows.item(i)])
        return chosen
