"""1:N identification: is the right person among the first k, and who is let in wrongly."""

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from ..data_tools.ijb import Gallery, TemplateSearch
from ..errors import FacekdError, did_you_mean
from .accuracy import AccuracyProtocol
from .intervals import Interval, clopper_pearson
from .operating import tar_at_far
from .pair_scores import PRODUCTS
from .scores import SortedScores
from .templates import Pooled

RANKS = (1, 5, 10)
FPIRS = (0.1, 0.01)
_NOWHERE = np.iinfo(np.int64).max


@dataclass(frozen=True)
class RankRate:
    """Closed set: the share of mated probes whose subject is among the k best of the gallery.

    Attributes:
        rank: k.
        rate: In [0, 1].
        interval: 95 % Clopper-Pearson interval; None for a mean over galleries.
    """

    rank: int
    rate: float
    interval: Interval | None


@dataclass(frozen=True)
class OpenSetPoint:
    """Open set: the largest TPIR (rank 1, score >= threshold) whose FPIR is at most the target.

    Attributes:
        target_fpir: The false positive identification rate asked for.
        tpir: True positive identification rate; None where no false positive is allowed.
        interval: 95 % Clopper-Pearson interval, or None.
        threshold: A cosine, or None.
        fpir: The rate it really has, or None.
        false_positives: How many non-mated probes it lets in, or None.
        allowed: How many the target allows.
        reason: Why there is no number; empty where there is one.
    """

    target_fpir: float
    tpir: float | None
    interval: Interval | None
    threshold: float | None
    fpir: float | None
    false_positives: int | None
    allowed: int
    reason: str = ""


@dataclass(frozen=True)
class GallerySearch:
    """All probes against one gallery.

    Attributes:
        name: "G1", "G2", "S1", "S2", or "G1+G2" where insightface's protocol joins them.
        subjects: How many people are enrolled.
        mated: How many probes show one of them.
        non_mated: How many do not.
        ranks: Closed set, rank 1, 5 and 10.
        points: Open set, FPIR 0.1 and 0.01.
    """

    name: str
    subjects: int
    mated: int
    non_mated: int
    ranks: tuple[RankRate, ...]
    points: tuple[OpenSetPoint, ...]


@dataclass(frozen=True)
class Identification:
    """One model on one 1:N bench.

    Attributes:
        galleries: One result each.
        mean_ranks: The mean over galleries of each rank's rate.
        mean_tpir: (target FPIR, mean TPIR over galleries, None where one has no number).
    """

    galleries: tuple[GallerySearch, ...]
    mean_ranks: tuple[RankRate, ...]
    mean_tpir: tuple[tuple[float, float | None], ...]


def identify(
    pooled: Pooled, search: TemplateSearch, *, protocol: AccuracyProtocol = "exact"
) -> Identification:
    """Look every probe up in the galleries.

    `exact` searches each gallery by itself. Closed set: of the mated probes, those whose own
    subject has fewer than k others at least as alike (a tie counts against the probe). Open set:
    the probes of subjects that are not enrolled in this gallery are the non-mated ones, FPIR is the
    share of them whose best cosine is at or above the threshold, TPIR the share of mated probes
    whose own subject is first and at or above it; the threshold is the one that gives the largest
    TPIR with FPIR <= target.

    `insightface` does what its `ijb_1n.py` does: both galleries are joined, so every probe is
    mated; the threshold is the ceil(target * probes)-th highest of all cosines of a probe and
    another subject, and TPIR the share of probes whose own subject lies above it, first or not.

    A template none of whose faces was found is never found, and finds nobody.

    Args:
        pooled: The templates' embeddings.
        search: Galleries and probes.
        protocol: `exact` or `insightface`.

    Raises:
        FacekdError: An unknown protocol; no probe of a gallery's subjects; for `insightface` a
            probe whose subject is enrolled nowhere, a subject enrolled twice, or only one subject.
    """
    if protocol not in get_args(AccuracyProtocol):
        raise FacekdError(
            f"unknown protocol {protocol!r}; {did_you_mean(protocol, get_args(AccuracyProtocol))}"
        )
    if protocol == "insightface":
        galleries: tuple[GallerySearch, ...] = (_joined(pooled, search),)
    else:
        galleries = tuple(_separate(pooled, search, gallery) for gallery in search.galleries)
    ranks = [np.mean([one.ranks[i].rate for one in galleries]) for i in range(len(RANKS))]
    tpirs = [[one.points[i].tpir for one in galleries] for i in range(len(FPIRS))]
    return Identification(
        galleries=galleries,
        mean_ranks=tuple(RankRate(k, float(r), None) for k, r in zip(RANKS, ranks, strict=True)),
        mean_tpir=tuple(
            (fpir, None if None in values else float(np.mean(values)))  # type: ignore[arg-type]
            for fpir, values in zip(FPIRS, tpirs, strict=True)
        ),
    )


def _separate(pooled: Pooled, search: TemplateSearch, gallery: Gallery) -> GallerySearch:
    """One gallery by the exact protocol."""
    mates = _mates(gallery.subjects, search.probe_subjects)
    mated = mates >= 0
    if not mated.any():
        raise FacekdError(
            f"{search.source}: none of the {len(mates)} probes shows a subject of gallery "
            f"{gallery.name}; use a complete probe list."
        )
    hits = _look_up(pooled, gallery.templates, search.probes, mates)
    right = np.where(hits.place == 0, hits.mate, -np.inf)[mated]
    scores = SortedScores(np.sort(right), np.sort(hits.best[~mated]))
    return GallerySearch(
        name=gallery.name,
        subjects=len(gallery.subjects),
        mated=int(mated.sum()),
        non_mated=int((~mated).sum()),
        ranks=_rank_rates(hits.place[mated]),
        points=tuple(_open_set(scores, fpir) for fpir in FPIRS),
    )


def _open_set(scores: SortedScores, fpir: float) -> OpenSetPoint:
    """TAR at FAR, with the best cosine of each non-mated probe for impostors."""
    if fpir * scores.impostors < 1:
        reason = (
            f"not enough non-mated probes: {scores.impostors}, FPIR {fpir:g} needs at least "
            f"{math.ceil(1 / fpir)}"
        )
        return OpenSetPoint(fpir, None, None, None, None, None, 0, reason)
    point = tar_at_far(scores, fpir)
    return OpenSetPoint(
        target_fpir=fpir,
        tpir=point.tar,
        interval=point.interval,
        threshold=point.threshold,
        fpir=point.far,
        false_positives=point.false_accepts,
        allowed=point.allowed,
    )


def _joined(pooled: Pooled, search: TemplateSearch) -> GallerySearch:
    """All galleries as one, by insightface's protocol."""
    templates = np.concatenate([gallery.templates for gallery in search.galleries])
    subjects = np.concatenate([gallery.subjects for gallery in search.galleries])
    values, counts = np.unique(subjects, return_counts=True)
    mates = _mates(subjects, search.probe_subjects)
    if counts.max() > 1 or (mates < 0).any():
        bad = values[counts.argmax()] if counts.max() > 1 else search.probe_subjects[mates < 0][0]
        raise FacekdError(
            f"{search.source}: subject {bad} is enrolled {counts[values == bad].sum()} times over "
            "all galleries; insightface's protocol needs every probe's subject exactly once, so "
            "use the exact protocol."
        )
    if len(subjects) == 1:
        raise FacekdError(
            f"{search.source}: the galleries hold one subject in all; a search needs two or more."
        )
    probes = len(mates)
    wanted = [math.ceil(probes * fpir) for fpir in FPIRS]
    hits = _look_up(pooled, templates, search.probes, mates, highest=max(wanted))
    points = []
    for fpir, k in zip(FPIRS, wanted, strict=True):
        threshold = hits.highest[k - 1]
        found = int((hits.mate > threshold).sum())
        above = int((hits.highest > threshold).sum())
        interval = clopper_pearson(found, probes)
        points.append(
            OpenSetPoint(fpir, found / probes, interval, float(threshold), above / probes, above, k)
        )
    return GallerySearch(
        name="+".join(gallery.name for gallery in search.galleries),
        subjects=len(subjects),
        mated=probes,
        non_mated=0,
        ranks=_rank_rates(hits.place),
        points=tuple(points),
    )


def _rank_rates(place: NDArray[np.int64]) -> tuple[RankRate, ...]:
    """Closed-set rates of the mated probes' places (0 is first)."""
    counts = [int((place < rank).sum()) for rank in RANKS]
    return tuple(
        RankRate(rank, count / len(place), clopper_pearson(count, len(place)))
        for rank, count in zip(RANKS, counts, strict=True)
    )


def _mates(subjects: NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in the gallery each wanted subject stands; -1 for one who is not enrolled."""
    order = np.argsort(subjects)
    at = np.searchsorted(subjects, wanted, sorter=order).clip(max=len(subjects) - 1)
    return np.where(subjects[order[at]] == wanted, order[at], -1)


@dataclass(frozen=True)
class _Hits:
    """What each of p probes finds in a gallery.

    Attributes:
        place: int64 (p,), how many others are at least as alike as the mate; `_NOWHERE` for a probe
            without a mate, or where one of the two has no face.
        mate: float32 (p,), the cosine of the mate; -inf in the same cases.
        best: float32 (p,), the highest cosine in the gallery, the mate's included.
        highest: float32 (h,), the highest of all cosines but the mates', falling.
    """

    place: NDArray[np.int64]
    mate: NDArray[np.float32]
    best: NDArray[np.float32]
    highest: NDArray[np.float32]


def _look_up(
    pooled: Pooled,
    gallery: NDArray[np.int32],
    probes: NDArray[np.int32],
    mates: NDArray[np.int64],
    highest: int = 0,
) -> _Hits:
    """Compare probes and gallery, some probes at a time; the `highest` others are kept."""
    enrolled, blank = pooled.embeddings[gallery].T, pooled.empty[gallery]
    found = (mates >= 0) & ~pooled.empty[probes] & ~blank[mates]
    place = np.full(len(probes), _NOWHERE)
    mate = np.full(len(probes), -np.inf, np.float32)
    best = np.empty(len(probes), np.float32)
    top = np.empty(0, np.float32)
    height = max(1, PRODUCTS // len(gallery))
    for start in range(0, len(probes), height):
        rows = np.arange(start, min(start + height, len(probes)))
        cosines = pooled.embeddings[probes[rows]] @ enrolled
        np.clip(cosines, -1, 1, out=cosines)
        cosines[:, blank] = cosines[pooled.empty[probes[rows]]] = -1
        best[rows] = cosines.max(axis=1)
        mine = rows[found[rows]]
        mate[mine] = cosines[mine - start, mates[mine]]
        own = rows[mates[rows] >= 0]
        cosines[own - start, mates[own]] = -2  # below every cosine
        ahead = np.count_nonzero(cosines >= mate[rows, None], axis=1)
        place[mine] = ahead[mine - start]
        if highest:
            kept = min(highest, cosines.size)
            top = np.concatenate([top, np.partition(cosines, -kept, axis=None)[-kept:]])
            top = np.sort(top)[::-1][:highest]
    return _Hits(place, mate, best, top)
