"""One process's part of every step's images, where several train together."""

from collections.abc import Iterator

from torch.utils.data import Sampler

from facekd.data.batches import Batches, View


class Slices(Sampler[list[View]]):
    """All processes draw the same steps, and each takes its own slice of every one.

    Args:
        batches: The steps, equal in every process.
        rank: This process.
        world: How many there are; it divides the size of a step.
    """

    def __init__(self, batches: Batches, rank: int, world: int) -> None:
        self.batches = batches
        size = batches.batch_size // world
        self.rows = slice(rank * size, (rank + 1) * size)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[View]]:
        for views in self.batches:
            yield views[self.rows]
