"""Which images make up each step, and how they look: fixed by the seed and the step's number.

Epoch e is drawn from (seed, e) alone, and the people of its batch b from (seed, e, b); no other
state exists, so a run can start at any step and any number of loader processes gives the same
batches.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from facekd.data.augment import Augment
from facekd.data.shard_order import ShardOrder

View = tuple[int, int]  # position in the FaceSet, look
IntArray = NDArray[np.int64]


class Batches(Sampler[list[View]]):
    """The views of every step from `start` up to `stop`.

    An epoch visits the images in a random order. With `per_identity` above 1, a share of every
    batch is instead made of identities drawn at random, each among those with two images or more,
    and so many of each one's images: what losses that compare images of one person need.

    Args:
        size: Number of images.
        batch_size: Views in a step; the last few images of an epoch are left out.
        seed: Fixes order and looks.
        augment: Draws the looks.
        start: First step.
        stop: Step to end before.
        labels: int64 (size,), -1 where unknown; read with `per_identity` above 1.
        per_identity: Images of each identity that is drawn; 1: no such share.
        share: The part of the batch made so, in (0, 1].
        order: Draws an epoch's order, a permutation of the images; None: any is as likely.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        seed: int,
        augment: Augment,
        start: int,
        stop: int,
        *,
        labels: IntArray | None = None,
        per_identity: int = 1,
        share: float = 1.0,
        order: ShardOrder | None = None,
    ) -> None:
        self.size, self.batch_size, self.seed, self.augment = size, batch_size, seed, augment
        self.start, self.stop = start, stop
        self.per_identity, self.order = per_identity, order
        self._a_batch = int(batch_size * share / per_identity) if per_identity > 1 else 0
        if self._a_batch and labels is not None:
            self._by_label = np.argsort(labels, kind="stable")
            counts = np.bincount(labels[labels >= 0])
            self._first = np.cumsum(counts) - counts + np.count_nonzero(labels < 0)
            self._counts = counts
            self._several = np.flatnonzero(counts > 1)

    def __len__(self) -> int:
        return self.stop - self.start

    def __iter__(self) -> Iterator[list[View]]:
        per_epoch = self.size // self.batch_size
        step = self.start
        while step < self.stop:
            epoch, within = divmod(step, per_epoch)
            rng = np.random.default_rng((self.seed, epoch))
            order = self.order.draw(rng) if self.order else rng.permutation(self.size)
            looks = self.augment.draw(rng, self.size)[order]
            order, looks = (x[: per_epoch * self.batch_size] for x in (order, looks))
            order, looks = (x.reshape(per_epoch, self.batch_size) for x in (order, looks))
            for b in range(within, min(per_epoch, within + self.stop - step)):
                if self._a_batch:
                    own = np.random.default_rng((self.seed, epoch, b))
                    drawn = self._people(own)
                    order[b, : len(drawn)] = drawn
                    looks[b, : len(drawn)] = self.augment.draw(own, len(drawn))
                yield list(zip(order[b].tolist(), looks[b].tolist(), strict=True))
            step += min(per_epoch - within, self.stop - step)

    def _people(self, rng: np.random.Generator) -> IntArray:
        """Positions of the images of people drawn for a batch, one person's beside each other."""
        enough = len(self._several) >= self._a_batch
        drawn = []
        for person in rng.choice(self._several, self._a_batch, replace=not enough):
            count = self._counts[person]
            chosen = rng.choice(count, self.per_identity, replace=count < self.per_identity)
            drawn.append(self._by_label[self._first[person] + chosen])
        return np.concatenate(drawn)
