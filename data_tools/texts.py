"""Many short texts in little memory: names of images, of which a set may have millions."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from .columns import Column, blocks


class Texts(Sequence[str]):
    """Texts in one run of bytes, each its own and eight more, as `columns` keep them; picklable.

    Args:
        texts: The first ones; more are appended.
    """

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._bytes, self._ends = Column("B"), Column()
        self._ends.append(0)
        for text in texts:
            self.append(text)

    def append(self, text: str) -> None:
        """Add one at the end; it may hold what stands for bytes that are no UTF-8."""
        self._bytes.extend(text.encode("utf-8", "surrogateescape"))
        self._ends.append(len(self._bytes))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, i: int) -> str:  # type: ignore[override]
        i = range(len(self))[i]
        start, end = self._ends.numbers[i : i + 2].tolist()
        return self._bytes.numbers[start:end].tobytes().decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[i] for i in range(len(self)))

    def select(self, rows: npt.NDArray[np.int64]) -> "Texts":
        """Those of these numbers, in their order."""
        return Texts(self[i] for i in plain(rows))


class Digits(Sequence[str]):
    """Numbers as texts, without any text being kept; picklable.

    Args:
        numbers: int64 (n,).
    """

    def __init__(self, numbers: npt.NDArray[np.int64]) -> None:
        self._these = numbers

    def __len__(self) -> int:
        return len(self._these)

    def __getitem__(self, i: int) -> str:  # type: ignore[override]
        return str(self._these[i])

    def __iter__(self) -> Iterator[str]:
        return map(str, plain(self._these))


def plain(array: npt.NDArray[np.int64]) -> Iterator[int]:
    """The numbers as Python's own, of which only a block exists at a time."""
    for part in blocks(len(array)):
        yield from array[part].tolist()
