"""What checking a data set finds, and the promise that every kind of set keeps for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class BadRecord:
    """One finding.

    Attributes:
        record: The record number in a `.rec` (None where the index has none for it), the image's
            number in a `.bin`, the file's name in a folder or in tar shards.
        offset: The byte in the file where the record starts, else None.
        reason: A sentence.
        lost: False where the image itself is sound and only the index is wrong about it.
    """

    record: int | str | None
    offset: int | None
    reason: str
    lost: bool = True


class Checks(Protocol):
    """A set that can be checked piece by piece, in any order, also by other processes."""

    @property
    def fingerprint(self) -> str:
        """By which the same bytes are known again: names, sizes, times of change."""

    @property
    def notes(self) -> Sequence[str]:
        """What is odd about the whole but not bad, a sentence each."""

    def __len__(self) -> int: ...

    def check(self, i: int, /) -> BadRecord | None:
        """Check the i-th piece; None for a sound one."""
