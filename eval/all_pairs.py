"""All pairs of a labelled set: every genuine and every impostor score, in bounded memory.

n images make n (n - 1) / 2 pairs: 2e8 of 20,000 images, 5e11 of a million. Their scores are
matrix products of blocks of embeddings, so they are cheap to make and too many to keep or sort.
What is kept: every genuine score, and a histogram of the impostor scores in bins of 2**-19. It
tells in which few bins the impostor scores lie that decide TAR at the FARs asked for; a second
pass over the same blocks collects just those.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from ..errors import FacekdError
from .operating import false_accepts_allowed
from .scores import SortedScores
from .together import Alone, Together

BLOCK = 2048
BIN = 2.0**-19

Bins = NDArray[np.int64]
Scores = NDArray[np.float32]

_KEPT = 1 << 22
_UNIT = 1e-3


def count_pairs(labels: ArrayLike) -> tuple[int, int]:
    """How many genuine and how many impostor pairs labelled images make; ask before embedding.

    Args:
        labels: int (n,), their identities.

    Raises:
        FacekdError: There is no pair of one of the two kinds.
    """
    sizes = np.unique(np.asarray(labels), return_counts=True)[1].astype(np.int64)
    images = int(sizes.sum())
    genuine = int((sizes * (sizes - 1) // 2).sum())
    impostors = images * (images - 1) // 2 - genuine
    if not genuine:
        raise FacekdError(
            f"none of the {len(sizes)} identities has two images ({images} images), so there is no "
            "genuine pair; all pairs need some identities with more than one image."
        )
    if not impostors:
        raise FacekdError(
            f"all {images} images are of one identity, so there is no impostor pair; all pairs "
            "need two identities or more."
        )
    return genuine, impostors


def score_all_pairs(
    unit: NDArray[np.floating],
    labels: ArrayLike,
    fars: Sequence[float],
    *,
    thresholds: Sequence[float] = (),
    together: Together | None = None,
    progress: str = "",
    block: int = BLOCK,
) -> SortedScores:
    """Score every pair; TAR at the FARs asked for is exact for the float32 scores computed.

    Scores are float32 dot products, clipped to [-1, 1]. All genuine scores are exact, and so are
    the impostor scores that decide `tar_at_far` (strict) at each of `fars`: those in the bin of the
    score that would be one false accept too many, and in the bin of the threshold (the highest
    impostor score's bin where nothing can be accepted); and those in the bin of each of
    `thresholds`, so that the false accepts there are exact too. Every other impostor score is
    rounded to the middle of its bin: off by at most 1.1e-6 (half a bin), still in order with the
    scores of other bins. AUC, equal error rate, minDCF and curves are those of scores that are off
    by so much.

    Memory beside the embeddings: about 120 MB, and 12 bytes a genuine pair. The time is that of
    2 n**2 d floating-point operations; blocks whose highest score lies below all deciding ones are
    not computed twice.

    Args:
        unit: float (n, d), embeddings of norm one, in memory or mapped; used as float32.
        labels: int (n,), their identities.
        fars: Target FARs, each in (0, 1].
        thresholds: Cosines set elsewhere whose false accepts will be asked for.
        together: The processes that share the blocks; each gets the whole result.
        progress: Title of progress bars on stderr, shown on a terminal only; none when empty.
        block: Rows of a block.

    Returns:
        float32 scores; equal impostor scores once, with a count.

    Raises:
        FacekdError: Labels that do not fit the embeddings, an embedding that has not norm one, one
            class only, or products that differ between the two passes.
    """
    together = together or Alone()
    label = np.asarray(labels)
    if unit.ndim != 2 or label.shape != unit.shape[:1]:
        raise FacekdError(
            f"labels of shape {label.shape} for embeddings of shape {unit.shape}; give one label "
            "an embedding."
        )
    impostors = count_pairs(label)[1]
    _check_unit(unit, block)
    blocks = _Blocks(unit, label, block, together, progress)
    counts, tops, genuine = _count(blocks)
    counts = together.sum(counts)
    genuine = np.sort(np.concatenate(together.gather(genuine)))
    wanted = _deciding_bins(counts, genuine, fars, impostors)
    wanted[_bins_of(thresholds)] = True
    values, times = _collect(blocks, wanted, tops)
    values, times = _tally(
        np.concatenate(together.gather(values)), np.concatenate(together.gather(times))
    )
    if times.sum() != counts[wanted].sum():
        raise FacekdError(
            f"{counts[wanted].sum()} deciding scores were counted and {times.sum()} found again: "
            "this machine's matrix products are not the same twice; use one thread (set "
            "OMP_NUM_THREADS=1)."
        )
    counts[wanted] = 0
    rounded = np.flatnonzero(counts)
    values = np.concatenate([values, _middles(rounded)])
    times = np.concatenate([times, counts[rounded]])
    order = np.argsort(values)
    return SortedScores(genuine, values[order], times[order])


class _Blocks:
    """The blocks on and above the diagonal that are this process's share.

    Rows are taken in the order of their labels, so genuine pairs lie near the diagonal and all
    other blocks need no look at labels. The buffers are reused: about 16 bytes a pair of a block.
    """

    def __init__(
        self,
        unit: NDArray[np.floating],
        label: NDArray[np.int64],
        size: int,
        together: Together,
        progress: str,
    ) -> None:
        self.unit = unit
        self.order = np.argsort(label, kind="stable")
        self.label = label[self.order]
        self.parts = [slice(at, at + size) for at in range(0, len(label), size)]
        every = [(i, j) for i in range(len(self.parts)) for j in range(i, len(self.parts))]
        self.share = every[together.rank :: together.world]
        self.title = progress if together.rank == 0 else ""
        largest = min(size, len(label)) ** 2
        self._products = np.empty(largest, dtype=np.float32)
        self._scaled = np.empty(largest, dtype=np.float32)
        self._bins = np.empty(largest, dtype=np.int64)

    def scores(self, skip: NDArray[np.bool_], what: str) -> Iterator[tuple[int, Scores, Scores]]:
        """The impostor and genuine scores, unordered, of each block of the share not skipped.

        Yields the block's number and views into a buffer that the next block overwrites.
        """
        title = f"{self.title}, {what}"
        hidden = None if self.title else True
        with tqdm(total=len(self.share), desc=title, unit="block", disable=hidden) as bar:
            held, rows = -1, np.empty((0, self.unit.shape[1]), dtype=np.float32)
            for number, (i, j) in enumerate(self.share):
                if not skip[number]:
                    if held != i:
                        held, rows = i, self._rows(i)
                    yield number, *self._split(i, j, rows, rows if i == j else self._rows(j))
                bar.update()

    def bins(self, scores: Scores) -> Bins:
        """The bin of each score, rising with it; a view that the next call overwrites."""
        scaled, bins = self._scaled[: len(scores)], self._bins[: len(scores)]
        bins[:] = _scale(scores, scaled)
        return bins

    def _rows(self, i: int) -> Scores:
        return self.unit[self.order[self.parts[i]]].astype(np.float32, copy=False)

    def _split(self, i: int, j: int, rows: Scores, columns: Scores) -> tuple[Scores, Scores]:
        shape = len(rows), len(columns)
        flat = self._products[: shape[0] * shape[1]]
        products = np.matmul(rows, columns.T, out=flat.reshape(shape))
        np.clip(flat, -1, 1, out=flat)
        left, right = self.label[self.parts[i]], self.label[self.parts[j]]
        if i != j and left[-1] != right[0]:
            return flat, flat[:0]
        same = left[:, None] == right
        pairs = np.triu(np.ones(shape, dtype=np.bool_), 1) if i == j else True
        return products[~same & pairs], products[same & pairs]


def _scale(scores: Scores, out: Scores | None = None) -> Scores:
    """Scores in bins from -1 on, not yet cut to whole ones: monotone, whatever is rounded."""
    scaled: Scores = np.multiply(scores, np.float32(1 / BIN), out=out)
    scaled += np.float32(1 / BIN)
    return scaled


def _middles(bins: Bins) -> Scores:
    """The score that stands for each bin: its middle, and 1 for the last bin, which is only 1."""
    middles: Scores = np.minimum((bins + 0.5) * BIN - 1, 1).astype(np.float32)
    return middles


def _count(blocks: _Blocks) -> tuple[Bins, Bins, Scores]:
    """The impostor scores in each bin, each block's highest bin, and all genuine scores."""
    counts = np.zeros(round(2 / BIN) + 1, dtype=np.int64)
    tops = np.full(len(blocks.share), -1, dtype=np.int64)
    found = [np.empty(0, dtype=np.float32)]
    every = np.zeros(len(blocks.share), dtype=np.bool_)
    for number, impostor, genuine in blocks.scores(every, "counting"):
        bins = blocks.bins(impostor)
        counted = np.bincount(bins)
        counts[: len(counted)] += counted
        tops[number] = len(counted) - 1
        if len(genuine):
            found.append(genuine.copy())
    return counts, tops, np.concatenate(found)


def _deciding_bins(
    counts: Bins, genuine: Scores, fars: Sequence[float], impostors: int
) -> NDArray[np.bool_]:
    """Which bins hold the impostor scores that decide `tar_at_far` at one of the FARs."""
    not_lower = np.cumsum(counts[::-1])[::-1]
    of_genuine = _scale(genuine).astype(np.int64)
    wanted = np.zeros(len(counts), dtype=np.bool_)
    for far in fars:
        allowed = false_accepts_allowed(far, impostors)
        if allowed < 1:
            continue
        first = 0
        if allowed < impostors:
            one_too_many = int(np.searchsorted(-not_lower, -allowed)) - 1
            wanted[one_too_many] = True
            first = int(np.searchsorted(of_genuine, one_too_many, side="right"))
        accepts_some = first < len(genuine)
        wanted[of_genuine[first] if accepts_some else np.flatnonzero(counts)[-1]] = True
    return wanted


def _bins_of(thresholds: Sequence[float]) -> Bins:
    """The bin of the lowest float32 score that each threshold accepts, where a score can lie."""
    exact = np.array([t for t in thresholds if -1 <= t <= 1], dtype=np.float64)
    least = exact.astype(np.float32)
    least = np.where(least < exact, np.nextafter(least, np.float32(np.inf)), least)
    return _scale(least).astype(np.int64)


def _collect(blocks: _Blocks, wanted: NDArray[np.bool_], tops: Bins) -> tuple[Scores, Bins]:
    """The different impostor scores in the wanted bins, and how often each occurs."""
    values, times = np.empty(0, dtype=np.float32), np.empty(0, dtype=np.int64)
    fresh: list[Scores] = []
    lowest = int(np.argmax(wanted)) if wanted.any() else len(wanted)
    for _, impostor, _ in blocks.scores(tops < lowest, "collecting"):
        fresh.append(impostor[wanted[blocks.bins(impostor)]])
        if sum(map(len, fresh)) > _KEPT:
            values, times = _merge(values, times, fresh)
            fresh = []
    return _merge(values, times, fresh)


def _merge(values: Scores, times: Bins, fresh: list[Scores]) -> tuple[Scores, Bins]:
    once = np.ones(sum(map(len, fresh)), dtype=np.int64)
    return _tally(np.concatenate([values, *fresh]), np.concatenate([times, once]))


def _tally(values: Scores, times: Bins) -> tuple[Scores, Bins]:
    """Equal values once, in rising order, with the sum of their times."""
    order = np.argsort(values)
    values, times = values[order], times[order]
    first = np.flatnonzero(np.diff(values, prepend=np.float32(-2)))
    return values[first], np.add.reduceat(times, first) if len(first) else times


def _check_unit(unit: NDArray[np.floating], block: int) -> None:
    """Check that every embedding has norm one, and so is finite."""
    for at in range(0, len(unit), block):
        rows = unit[at : at + block]
        norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
        bad = np.flatnonzero(~(abs(norms - 1) < _UNIT))
        if len(bad):
            raise FacekdError(
                f"embedding {at + bad[0]} has norm {norms[bad[0]]:g}; all pairs are scored on "
                "embeddings of norm one."
            )
