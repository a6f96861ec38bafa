"""How sure a number is when the people, not the pairs, are what was drawn: subject bootstrap."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from tqdm import tqdm

from ..errors import FacekdError
from .intervals import CONFIDENCE, Interval
from .operating import crossing, false_accepts_allowed
from .scores import Array, check_scores
from .trials import Trials

CHUNK = 1 << 16
"""Impostor pairs weighed at a time: small enough for the processor's cache."""


@dataclass(frozen=True)
class SubjectBootstrap:
    """95 % percentile intervals over resampled subjects.

    Attributes:
        replicates: How many times the subjects were drawn.
        seed: Of the drawing.
        subjects: How many there are; 0 where they are not known.
        subjects_from: What says who they are; "inferred ..." where they were.
        accuracy: Interval of the share of rightly judged pairs, or None (no folds).
        auc: Interval, or None.
        eer: Interval, or None.
        tar: (FAR, interval) of every operating point that has a number.
        reason: Why there are no intervals; empty where there are.
    """

    replicates: int
    seed: int
    subjects: int
    subjects_from: str
    accuracy: Interval | None = None
    auc: Interval | None = None
    eer: Interval | None = None
    tar: tuple[tuple[float, Interval], ...] = ()
    reason: str = ""


def bootstrap(
    scores: ArrayLike,
    trials: Trials,
    fars: Sequence[float],
    *,
    correct: NDArray[np.bool_] | None = None,
    replicates: int = 1000,
    seed: int = 0,
    progress: str = "",
) -> SubjectBootstrap:
    """Intervals from sets of people drawn anew: pairs share people, so pairs are not independent.

    Each replicate draws as many subjects as there are, with replacement. If subject s was drawn
    c_s times, a genuine pair of s weighs c_s and an impostor pair of s and t weighs c_s c_t; an
    impostor pair within one subject cannot arise. All numbers are read again from the weighted
    pairs: the threshold of each FAR by the strict rule (accepting none where the weights allow
    none), AUC, EER. Accuracy keeps the folds' thresholds and weighs which pairs they judge rightly.
    A replicate that holds no genuine or no impostor pair is drawn again.

    This is the bootstrap of vertices of Snijders and Borgatti (Connections 22(2), 1999), one of
    those that Fogliato, Patil and Perona compare for 1:1 matching (arXiv 2306.01198); in biometrics
    drawing subsets that belong together instead of single scores goes back to Bolle, Ratha and
    Pankanti (CVIU 93(1), 2004). It answers for other people, not for other images of the same ones.
    Where impostor pairs share nobody it is too wide (c_s c_t varies three times as much as the
    weight of a pair drawn alone); where a rate is 0 or 1 it has no width, and Clopper-Pearson's
    interval is the one to read.

    Args:
        scores: (m,) cosines.
        trials: The pairs, with their subjects.
        fars: Target FARs; those that all pairs together have too few impostors for are left out.
        correct: bool (m,), which pairs were judged rightly (`FoldAccuracy.correct`); None where
            there are no folds.
        replicates: How many.
        seed: Of the drawing; the order of the pairs plays no part.
        progress: Title of a progress bar on stderr, shown on a terminal only; none when empty.

    Raises:
        FacekdError: As `check_scores`; subjects that contradict the pairs' answers; no replicates;
            or a negative seed.
    """
    score, same = check_scores(scores, trials.same)
    if trials.subjects is None:
        reason = trials.subjects_from or "who the people in the pairs are is not known"
        return SubjectBootstrap(0, seed, 0, "", reason=reason)
    if replicates < 1 or seed < 0:
        raise FacekdError(
            f"{replicates} replicates from seed {seed}: give at least 1, and a seed of 0 or more."
        )
    subjects, count = _numbered(trials.subjects, same)
    table = _Table.of(score, same, subjects, correct)
    known = [far for far in fars if false_accepts_allowed(far, len(table.left)) >= 1]
    draws = table.replicates(np.random.default_rng(seed), count, known)
    bar = tqdm(total=replicates, desc=progress, unit="draw", disable=None if progress else True)
    with bar:
        rows = []
        for row in draws:
            rows.append(row)
            bar.update()
            if len(rows) == replicates:
                break
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(np.stack(rows), [tail, 100 - tail], axis=0).tolist()
    accuracy, area, equal, *tars = zip(low, high, strict=True)
    return SubjectBootstrap(
        replicates=replicates,
        seed=seed,
        subjects=count,
        subjects_from=trials.subjects_from,
        accuracy=accuracy if correct is not None else None,
        auc=area,
        eer=equal,
        tar=tuple(zip(known, tars, strict=True)),
    )


@dataclass(frozen=True)
class _Table:
    """The pairs sorted once, as every replicate needs them.

    Between two neighbouring genuine scores no number depends on the impostors' order, so their
    weights are only summed there: in segments, which also end where a chunk ends.

    Attributes:
        genuine: int (g,), the subject of each genuine pair, by rising score.
        levels: int (l,), where in `genuine` each different score starts.
        left: int32 (i,), one subject of each impostor pair, by rising score.
        right: int32 (i,), the other.
        segments: int (k,), where in `left` each segment starts.
        below: int (l,), how many segments are below each level.
        not_above: int (l,), how many are not above it.
        wrong: The subjects of wrongly judged pairs: of the genuine, left and right of the impostor
            ones; None where nothing was judged.
    """

    genuine: Array
    levels: Array
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    segments: Array
    below: Array
    not_above: Array
    wrong: tuple[Array, Array, Array] | None

    @classmethod
    def of(
        cls,
        score: Array,
        same: NDArray[np.bool_],
        subjects: NDArray[np.int32],
        correct: NDArray[np.bool_] | None,
    ) -> "_Table":
        genuine, impostor = score[same], score[~same]
        rising = np.argsort(genuine, kind="stable")
        values, levels = np.unique(genuine[rising], return_index=True)
        order = np.argsort(impostor, kind="stable")
        impostor = impostor[order]
        ends = [np.searchsorted(impostor, values, side=side) for side in ("left", "right")]
        i = len(impostor)
        cuts = np.unique(np.concatenate([*ends, np.arange(0, i, CHUNK), [i]]))
        below, not_above = (np.searchsorted(cuts, end) for end in ends)
        wrong = None
        if correct is not None:
            if correct.shape != score.shape:
                raise FacekdError(f"{correct.shape} judgements for {score.shape} scores.")
            failed, accepted = subjects[same & ~correct], subjects[~same & ~correct]
            wrong = failed[:, 0], accepted[:, 0], accepted[:, 1]
        return cls(
            genuine=subjects[same, 0][rising],
            levels=levels,
            left=subjects[~same, 0][order],
            right=subjects[~same, 1][order],
            segments=cuts[:-1],
            below=below,
            not_above=not_above,
            wrong=wrong,
        )

    def replicates(
        self, rng: np.random.Generator, subjects: int, fars: Sequence[float]
    ) -> Iterator[list[float]]:
        """Endlessly: accuracy, AUC, EER and the TAR at each FAR, of subjects drawn anew.

        Weights and their sums are whole numbers in float64: exact, whatever the pairs' order.
        """
        while True:
            drawn = rng.integers(subjects, size=subjects)
            counts = np.bincount(drawn, minlength=subjects).astype(np.float64)
            genuine = _running_sum(np.add.reduceat(counts[self.genuine], self.levels))
            impostor = _running_sum(self._impostor_weights(counts))
            if genuine[-1] and impostor[-1]:
                below, not_above = impostor[self.below], impostor[self.not_above]
                accuracy = self._accuracy(counts, genuine[-1] + impostor[-1])
                yield [accuracy, *_numbers(genuine, below, not_above, impostor[-1], fars)]

    def _impostor_weights(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """float64 (k,), the weight of the impostor pairs in each segment."""
        sums = np.empty(len(self.segments))
        first = 0
        for start in range(0, len(self.left), CHUNK):
            stop = min(start + CHUNK, len(self.left))
            last = int(np.searchsorted(self.segments, stop))
            weights = counts.take(self.left[start:stop])
            weights *= counts.take(self.right[start:stop])
            sums[first:last] = np.add.reduceat(weights, self.segments[first:last] - start)
            first = last
        return sums

    def _accuracy(self, counts: NDArray[np.float64], weight: float) -> float:
        if self.wrong is None:
            return 0.0
        genuine, left, right = self.wrong
        return 1 - float(counts[genuine].sum() + counts[left] @ counts[right]) / weight


def _numbers(
    genuine: Array, below: Array, not_above: Array, impostors: float, fars: Sequence[float]
) -> list[float]:
    """AUC, EER and the TAR at each FAR, from the weights at each genuine score.

    Args:
        genuine: float64 (l + 1,), the genuine weight below each different genuine score; its end
            is the weight of all.
        below: float64 (l,), the impostor weight below each different genuine score.
        not_above: float64 (l,), the impostor weight at or below it.
        impostors: The weight of all impostors.
        fars: Target FARs.
    """
    all_genuine = genuine[-1]
    area = np.diff(genuine) @ (below + not_above) / (2 * all_genuine * impostors)
    # the corners of the ROC by rising threshold: accept all, at each score, just above it, none
    fnmr = np.repeat(genuine, 2) / all_genuine
    rejected = np.stack([below, not_above], axis=1).ravel()
    far = 1 - np.concatenate([[0.0], rejected, [impostors]]) / impostors
    tars = []
    for target in fars:
        allowed = false_accepts_allowed(target, int(impostors))
        lowest = np.count_nonzero(impostors - below > allowed)
        tars.append(float(1 - genuine[lowest] / all_genuine))
    return [float(area), crossing(far, fnmr), *tars]


def _running_sum(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([[0.0], np.cumsum(weights)])


def _numbered(
    subjects: NDArray[np.int32], same: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], int]:
    """The subjects of the pairs, numbered without gaps, and how many there are.

    Raises:
        FacekdError: Not two a pair, a negative number, or a pair whose answer they contradict.
    """
    if subjects.shape != (len(same), 2) or subjects.min() < 0:
        raise FacekdError(
            f"subjects of shape {subjects.shape}, from {subjects.min(initial=0)} on, for "
            f"{len(same)} pairs; give two a pair, numbered from 0."
        )
    wrong = np.flatnonzero((subjects[:, 0] == subjects[:, 1]) != same)
    if len(wrong):
        first, second = subjects[wrong[0]]
        kind = "a genuine" if same[wrong[0]] else "an impostor"
        raise FacekdError(
            f"pair {wrong[0]} is {kind} pair of subjects {first} and {second} ({len(wrong)} pairs "
            "contradict their subjects); correct the pairs or the subjects."
        )
    present = np.bincount(subjects.ravel()) > 0
    number = np.cumsum(present, dtype=np.int32) - 1
    return number[subjects], int(np.count_nonzero(present))
