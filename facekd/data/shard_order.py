"""The order in which an epoch goes through tar shards that are read from front to back."""

import importlib.util

import numpy as np
from numpy.typing import NDArray

from facekd.data.sources import NamedSource, Source
from facekd.data_tools.tar_shards import TarImages
from facekd.errors import FacekdError

IntArray = NDArray[np.int64]
LANES = 16


class ShardOrder:
    """Shards side by side in lanes, each read from front to back, neighbours shuffled.

    Shard s stands in lane s mod L. An epoch draws the order of the shards in each lane, goes
    through all lanes at an even pace, so that they end together, and shuffles each run of `buffer`
    images. It follows from the random generator alone, so training can start at any step.

    Args:
        images: The shards.
        rows: int64 (n,), ascending: the images that are trained on.
        buffer: How many neighbouring images are shuffled.

    Attributes:
        images, rows: As given.
        lanes: int64 (n,), each image's lane.
        ahead: How many images of one shard a reader must be able to keep, because the order asks
            for a later one first.
        open: How many shards of one lane it must be able to read in turn.
    """

    def __init__(self, images: TarImages, rows: IntArray, buffer: int) -> None:
        self.images, self.rows, self._buffer = images, rows, buffer
        self._shards = images.members[rows, 0]
        counts = np.bincount(self._shards, minlength=len(images.shards))
        self._counts = counts
        self._within = np.arange(len(rows)) - (np.cumsum(counts) - counts)[self._shards]
        # a few shards a lane, or nothing would be drawn; all lanes, or processes would be idle
        self._lane_of = np.arange(len(counts)) % min(LANES, max(1, len(counts) // 2))
        self.lanes = self._lane_of[self._shards]
        self._lengths = np.bincount(self._lane_of, weights=counts)
        self.ahead = 2 + int(buffer * self._lengths.max() / len(rows))
        small = np.cumsum(np.sort(counts[counts > 0]))
        self.open = 2 + int(np.searchsorted(small, self.ahead))

    def draw(self, rng: np.random.Generator) -> IntArray:
        """One epoch's order: int64 (n,), a permutation of the positions in `rows`."""
        turn = np.lexsort((rng.random(len(self._counts)), self._lane_of))
        counts = self._counts[turn]
        lane_starts = np.cumsum(self._lengths) - self._lengths
        starts = np.empty(len(turn))
        starts[turn] = np.cumsum(counts) - counts - lane_starts[self._lane_of[turn]]
        pace = (starts[self._shards] + self._within + 0.5) / self._lengths[self.lanes]
        order = np.argsort(pace, kind="stable")
        run = np.arange(len(order)) // self._buffer
        return order[np.lexsort((rng.random(len(order)), run))]


def shard_order(source: Source, rows: IntArray, buffer: int, named: str) -> ShardOrder:
    """The order of a source's images as `data.reading: stream` asks for it.

    Args:
        source: The images; tar shards.
        rows: int64 (n,), ascending: those that are trained on.
        buffer: How many neighbouring images are shuffled.
        named: What the recipe calls the source.

    Raises:
        FacekdError: They are no tar shards, or the library that reads them is not installed.
    """
    images = source.images if isinstance(source, NamedSource) else None
    if not isinstance(images, TarImages):
        raise FacekdError(
            f"data.reading: stream is for tar shards alone, and {named} is something else (or "
            "has `unlabelled` images beside it); use reading: index."
        )
    if importlib.util.find_spec("webdataset") is None:
        raise FacekdError(
            "data.reading: stream needs the webdataset package; install facekd[webdataset], or "
            "use reading: index."
        )
    return ShardOrder(images, rows, buffer)
