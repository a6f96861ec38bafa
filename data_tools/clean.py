"""Labels that embeddings speak against: images unlike their identity, identities that are one.

Nothing is deleted: what is found are lists to look through.
"""

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .nearest_match import nearest_embeddings, unit_blocks
from .thresholds import LIKE, STRANGERS

_DRAWN = 4  # strangers compared with each image's embedding

Array = NDArray[Any]
Rows = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Outliers:
    """Images unlike their identity, the most unlike first.

    Attributes:
        images: int64 (k,), their numbers.
        cosines: float32 (k,), to the centre of the identity's other images.
        others: int64 (k,), the identity nearest to each, but its own.
        other_cosines: float32 (k,), to that one's centre.
        threshold: Cosine below which an image is an outlier.
        like: Cosine from which it is taken to show the other identity: what 95 % of the images that
            are no outliers have to their own.
        judged: How many images there were to judge: those that are not their identity's only one.
    """

    images: Rows
    cosines: Floats
    others: Rows
    other_cosines: Floats
    threshold: float
    like: float
    judged: int


@dataclass(frozen=True)
class Duplicates:
    """Pairs of identities that look like one person, the surest first.

    Attributes:
        pairs: int64 (k, 2), the identity with fewer images first.
        cosines: float32 (k,), of their centres.
        threshold: Cosine from which two identities are one.
    """

    pairs: Rows
    cosines: Floats
    threshold: float


class Identities:
    """Embeddings by identity, with a centre each that a few wrong images do not move.

    The centre is the normalised mean of the better half: of those images whose cosine to the mean
    of the identity's other images is not below the identity's median. So it is the majority's, even
    where a third of the images are somebody else's.

    Args:
        embeddings: float (n, d), of any norm but zero; may be a mapped file, read in blocks.
        labels: int64 (n,), identities numbered from 0 without gaps.

    Attributes:
        counts: int64 (c,), images of each identity.
        centres: float32 (c, d), of length one.
        cosines: float32 (n,), each image's to its identity's centre without itself; NaN for an
            identity's only image.

    Raises:
        FacekdError: There is one identity only, none has two images, or an embedding is zero or
            not finite.
    """

    def __init__(self, embeddings: Array, labels: Rows) -> None:
        self.embeddings, self.labels = embeddings, labels
        self.counts = np.bincount(labels)
        self._order, self._ends = np.argsort(labels, kind="stable"), np.cumsum(self.counts)
        if len(self.counts) < 2 or self.counts.max() < 2:
            raise FacekdError(
                f"{len(labels)} images of {len(self.counts)} identities: there must be two "
                "identities, and one of two images, to find out who is unlike whom."
            )
        everyone = np.ones(len(labels), dtype=np.bool_)
        sums = self._sums(everyone)
        first = self._cosines(sums, everyone)
        self._better = np.isnan(first) | (first >= _medians(first, labels)[labels])
        sums = self._sums(self._better)
        self.cosines = self._cosines(sums, self._better)
        self.centres = _unit(sums)

    def members(self, identity: int) -> Rows:
        """The images of one identity, rising."""
        end = self._ends[identity]
        return self._order[end - self.counts[identity] : end]

    def outliers(self, threshold: float | None = None, seed: int = 0) -> Outliers:
        """Find images unlike their identity; of two images that disagree, both are.

        Args:
            threshold: Cosine below which an image is one; None: that which 99 % of the images are
                below when they are compared with identities drawn at random, taken from the median
                and the median deviation: a few of those identities will be the image's own, under
                another name.
            seed: Of that drawing.
        """
        if threshold is None:
            threshold = _normal_quantile(self._strangers(seed), STRANGERS)
        found = np.flatnonzero(self.cosines < threshold)
        found = found[np.argsort(self.cosines[found], kind="stable")]
        skip = self.labels[found]
        cosines, others = nearest_embeddings(self.embeddings[found], self.centres, skip)
        sound = self.cosines[self.cosines >= threshold]
        like = float(np.quantile(sound, LIKE)) if len(sound) else 1.0
        judged = len(found) + len(sound)
        return Outliers(found, self.cosines[found], others, cosines, threshold, like, judged)

    def duplicates(self, threshold: float | None = None, seed: int = 0) -> Duplicates:
        """Find identities that look like one: each with the nearest other, by blocked products.

        Args:
            threshold: Cosine of two centres from which they are one; None: half-way between the
                median identity's to its nearest other one, and the median identity's between its
                own halves when each is split in two at random.
            seed: Of that splitting.
        """
        own = np.arange(len(self.counts))
        cosines, others = nearest_embeddings(self.centres, self.centres, own)
        if threshold is None:
            threshold = float(np.median(cosines) + np.median(self._halves(seed))) / 2
        near = np.flatnonzero(cosines >= threshold)
        pairs = np.stack([near, others[near]], axis=1)
        fewer_second = self.counts[pairs[:, 1]] < self.counts[pairs[:, 0]]
        tied = self.counts[pairs[:, 1]] == self.counts[pairs[:, 0]]
        turned = fewer_second | (tied & (pairs[:, 1] > pairs[:, 0]))
        pairs[turned] = pairs[turned, ::-1]
        pairs, first = np.unique(pairs, axis=0, return_index=True)
        cosines = cosines[near[first]]
        order = np.argsort(-cosines, kind="stable")
        return Duplicates(pairs[order], cosines[order], threshold)

    def _sums(self, of: NDArray[np.bool_]) -> Floats:
        """The sums of each identity's embeddings of length one, of these images only."""
        sums = np.zeros((len(self.counts), self.embeddings.shape[1]), dtype=np.float32)
        for rows, block in unit_blocks(self.embeddings):
            np.add.at(sums, self.labels[rows][of[rows]], block[of[rows]])
        return sums

    def _cosines(self, sums: Floats, summed: NDArray[np.bool_]) -> Floats:
        """Each image's cosine to its identity's sum without itself; NaN where nothing is left."""
        cosines = np.full(len(self.labels), np.nan, dtype=np.float32)
        there = np.bincount(self.labels[summed], minlength=len(self.counts))
        for rows, block in unit_blocks(self.embeddings):
            labels, own = self.labels[rows], summed[rows]
            rest = sums[labels] - block * own[:, None]
            lengths = np.linalg.norm(rest, axis=1)
            alone = there[labels] - own < 1
            products = np.einsum("nd,nd->n", rest, block) / np.maximum(lengths, 1e-6)
            cosines[rows] = np.where(alone, np.nan, products)
        return cosines

    def _strangers(self, seed: int) -> Floats:
        """Cosines of images to centres of other identities, drawn at random; (4n,)."""
        rng = np.random.default_rng(seed)
        drawn = []
        for rows, block in unit_blocks(self.embeddings):
            for _ in range(_DRAWN):
                step = rng.integers(1, len(self.counts), len(block))
                others = (self.labels[rows] + step) % len(self.counts)
                drawn.append(np.einsum("nd,nd->n", self.centres[others], block))
        return np.concatenate(drawn)

    def _halves(self, seed: int) -> Floats:
        """Cosines of the centres of random halves of the identities that have two images."""
        order = np.random.default_rng(seed).permutation(len(self.labels))
        order = order[np.argsort(self.labels[order], kind="stable")]
        ends = np.cumsum(self.counts)
        half = np.empty(len(order), dtype=np.bool_)
        half[order] = (np.arange(len(order)) - np.repeat(ends - self.counts, self.counts)) % 2 == 0
        split = self.counts > 1
        one, other = (_unit(self._sums(part)[split]) for part in (half, ~half))
        cosines: Floats = np.einsum("nd,nd->n", one, other)
        return cosines


def _normal_quantile(values: Floats, share: float) -> float:
    """The quantile of the normal distribution with these values' median and median deviation."""
    middle = float(np.median(values))
    deviation = float(np.median(np.abs(values - middle)))
    normal = NormalDist()
    return middle + deviation * normal.inv_cdf(share) / normal.inv_cdf(0.75)


def _medians(values: Floats, labels: Rows) -> Floats:
    """The lower median of each identity's values, (c,)."""
    order = np.lexsort((values, labels))
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    medians: Floats = values[order[starts + (counts - 1) // 2]]
    return medians


def _unit(sums: Floats) -> Floats:
    unit: Floats = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-6)
    return unit
