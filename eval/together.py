"""Several processes that share one evaluation, as the numbers see them; no torch here.

`facekd.together.start()` gives the processes of `torchrun`; `Alone` is the usual single one.
"""

from typing import Protocol

from .scores import Array


class Together(Protocol):
    """This process among all that run the same command; every call is made by all of them.

    Attributes:
        rank: This process's number, from 0; rank 0 writes and prints.
        world: How many processes there are.
    """

    rank: int
    world: int

    def sum(self, array: Array, /) -> Array:
        """The sum of all processes' arrays, which have one shape and dtype; on every process."""
        ...

    def gather(self, array: Array, /) -> list[Array]:
        """All processes' arrays, by rank, on every process; their lengths may differ."""
        ...

    def barrier(self) -> None:
        """Wait until every process is here."""
        ...

    def close(self) -> None:
        """Part from the other processes."""
        ...


class Alone:
    """The only process."""

    rank = 0
    world = 1

    def sum(self, array: Array, /) -> Array:
        """The array."""
        return array

    def gather(self, array: Array, /) -> list[Array]:
        """The array, in a list."""
        return [array]

    def barrier(self) -> None:
        """Nobody to wait for."""

    def close(self) -> None:
        """Nothing to close."""
