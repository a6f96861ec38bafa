"""Error rates group by group at one common threshold: the same rule for everybody."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FacekdError
from .intervals import Interval, clopper_pearson
from .operating import OperatingPoint
from .scores import Array, check_scores
from .transfer import SetThreshold


@dataclass(frozen=True)
class GroupRate:
    """One group at the common threshold.

    Attributes:
        group: Its label.
        genuine: How many genuine pairs it has.
        impostors: How many impostor pairs it has.
        fnmr: Share of its genuine pairs that are rejected; None where it has none.
        fnmr_interval: 95 % Clopper-Pearson interval, or None.
        fmr: Share of its impostor pairs that are accepted; None where it has none.
        fmr_interval: 95 % Clopper-Pearson interval, or None.
    """

    group: str
    genuine: int
    impostors: int
    fnmr: float | None
    fnmr_interval: Interval | None
    fmr: float | None
    fmr_interval: Interval | None


@dataclass(frozen=True)
class GroupReport:
    """All groups at one threshold.

    Attributes:
        target_far: The FAR that the threshold was set for.
        threshold: The common threshold, a cosine.
        threshold_from: Where it was set: "this set", or another result.
        rates: One a group, by name.
        fmr_ratio: Worst FMR over best FMR; None where the best is 0 or fewer than two are known.
        fnmr_ratio: The same of FNMR.
        outside: How many pairs belong to no group.
    """

    target_far: float
    threshold: float
    threshold_from: str
    rates: tuple[GroupRate, ...]
    fmr_ratio: float | None
    fnmr_ratio: float | None
    outside: int


def group_reports(
    scores: ArrayLike,
    same: ArrayLike,
    groups: ArrayLike,
    points: Sequence[OperatingPoint | SetThreshold],
    threshold_from: str = "this set",
) -> tuple[GroupReport, ...]:
    """FMR and FNMR of every group, at each point's threshold; a score at or above it is accepted.

    One threshold for all: with a threshold of its own each group would have the FMR it was set
    for, and what people meet at a gate that has one threshold would not be seen.

    Args:
        scores: (m,) cosines.
        same: (m,) bools, True for a genuine pair.
        groups: (m,) strings, "" for a pair of no group.
        points: Thresholds, on all pairs or from elsewhere; those that have none are left out.
        threshold_from: Where they were set, in words.

    Raises:
        FacekdError: As `check_scores`; unequal counts; or fewer than two groups.
    """
    score, answer = check_scores(scores, same)
    labels: NDArray[np.str_] = np.asarray(groups, dtype=np.str_)
    if labels.shape != score.shape:
        raise FacekdError(f"{len(labels)} group labels for {len(score)} pairs; give one a pair.")
    names = [str(name) for name in np.unique(labels) if name]
    if len(names) < 2:
        found = f"only the group {names[0]!r}" if names else "no group"
        raise FacekdError(
            f"the {len(score)} pairs name {found}; give labels of two groups or more, or leave "
            "groups out."
        )
    members = {}
    for name in names:
        member = labels == name
        members[name] = score[member & answer], score[member & ~answer]
    outside = int(np.count_nonzero(labels == ""))
    return tuple(
        _report(members, point.target_far, point.threshold, threshold_from, outside)
        for point in points
        if point.threshold is not None
    )


def _report(
    members: dict[str, tuple[Array, Array]],
    target_far: float,
    threshold: float,
    threshold_from: str,
    outside: int,
) -> GroupReport:
    rates = tuple(
        _rate(name, genuine, impostor, threshold) for name, (genuine, impostor) in members.items()
    )
    return GroupReport(
        target_far=target_far,
        threshold=threshold,
        threshold_from=threshold_from,
        rates=rates,
        fmr_ratio=_worst_over_best([rate.fmr for rate in rates]),
        fnmr_ratio=_worst_over_best([rate.fnmr for rate in rates]),
        outside=outside,
    )


def _rate(name: str, genuine: Array, impostor: Array, threshold: float) -> GroupRate:
    exact = np.float64(threshold)  # a plain float would be rounded to the scores' precision
    rejected = int(np.count_nonzero(genuine < exact))
    accepted = int(np.count_nonzero(impostor >= exact))
    g, i = len(genuine), len(impostor)
    return GroupRate(
        group=name,
        genuine=g,
        impostors=i,
        fnmr=rejected / g if g else None,
        fnmr_interval=clopper_pearson(rejected, g) if g else None,
        fmr=accepted / i if i else None,
        fmr_interval=clopper_pearson(accepted, i) if i else None,
    )


def _worst_over_best(rates: list[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    if len(known) < 2 or min(known) == 0:
        return None
    return max(known) / min(known)
