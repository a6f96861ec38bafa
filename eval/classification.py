"""Numbers of a classifier: top-1 and top-5, of each class, and which class is taken for which."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .intervals import Interval, wilson

TOP = 5
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Rate:
    """A part of some images.

    Attributes:
        hits: How many.
        images: Of how many.
    """

    hits: int
    images: int

    @property
    def value(self) -> float | None:
        """The fraction; None of no images."""
        return self.hits / self.images if self.images else None

    @property
    def interval(self) -> Interval | None:
        """Wilson's 95 % interval; None of no images."""
        return wilson(self.hits, self.images) if self.images else None


@dataclass(frozen=True)
class Classification:
    """What a classifier says of images whose classes are known.

    Attributes:
        names: Class names, C of them.
        labels: int64 (n,), the true classes.
        named: int64 (n,), the classes said; of equal scores the first.
        rank: int64 (n,), how many classes stand before the true one.
    """

    names: tuple[str, ...]
    labels: IntArray
    named: IntArray
    rank: IntArray

    @property
    def correct(self) -> BoolArray:
        """Which images' classes are named rightly, (n,)."""
        first: BoolArray = self.rank == 0
        return first

    @property
    def top1(self) -> Rate:
        """The part of the images whose class is named first."""
        return Rate(int(self.correct.sum()), len(self.labels))

    @property
    def top5(self) -> Rate | None:
        """The part whose class is among the first five; None with five classes or fewer."""
        if len(self.names) <= TOP:
            return None
        return Rate(int((self.rank < TOP).sum()), len(self.labels))

    @property
    def per_class(self) -> tuple[Rate, ...]:
        """Of each class's images, the part named rightly."""
        every = self.confusion
        return tuple(Rate(int(row[k]), int(row.sum())) for k, row in enumerate(every))

    @property
    def mean_per_class(self) -> float:
        """The mean of the classes' rates, over those that have images."""
        values = [rate.value for rate in self.per_class]
        return float(np.mean([value for value in values if value is not None]))

    @cached_property
    def confusion(self) -> IntArray:
        """int64 (C, C): how many images of class i are taken for class j."""
        count = len(self.names)
        flat = np.bincount(self.labels * count + self.named, minlength=count**2)
        return flat.reshape(count, count)


def classify(
    scores: NDArray[np.floating], labels: IntArray, names: Sequence[str]
) -> Classification:
    """Judge a classifier's scores.

    A class stands before another where its score is higher, or equal and its number lower; so a
    classifier that gives all classes one score always names the first.

    Args:
        scores: (n, C), higher is more likely.
        labels: int64 (n,), the true classes.
        names: Class names, C of them.

    Raises:
        FacekdError: Shapes that do not fit, a label out of range, a score that is not a number.
    """
    count = len(names)
    if scores.ndim != 2 or scores.shape != (len(labels), count) or not len(labels):
        raise FacekdError(
            f"scores of shape {scores.shape} are not those of {len(labels)} images and {count} "
            "classes."
        )
    if labels.min() < 0 or labels.max() >= count:
        raise FacekdError(f"a true class is not among the {count} classes.")
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores).any(axis=1))[0])
        raise FacekdError(f"the classifier gives no numbers (NaN) for image {row}.")
    own = scores[np.arange(len(labels)), labels][:, None]
    earlier = np.arange(count) < labels[:, None]
    rank = (scores > own).sum(axis=1) + ((scores == own) & earlier).sum(axis=1)
    return Classification(tuple(names), labels, scores.argmax(axis=1), rank)
