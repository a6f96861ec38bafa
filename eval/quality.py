"""Error against reject: what FNMR becomes when the faces of lowest quality are turned away."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FacekdError
from .operating import OperatingPoint
from .scores import Array
from .transfer import SetThreshold

STEPS, LAST = 200, 190
"""The curve is read at every half percent of rejected pairs, from 0 to 95 %."""


@dataclass(frozen=True)
class RejectCurve:
    """FNMR over the share of genuine pairs rejected for quality, at one fixed threshold.

    Attributes:
        target_far: The FAR that the threshold was set for, on all pairs.
        threshold: That threshold, a cosine.
        rejected: float64 (k,), shares in [0, 1), rising from 0.
        fnmr: float64 (k,), FNMR of the genuine pairs that are left.
    """

    target_far: float
    threshold: float
    rejected: NDArray[np.float64]
    fnmr: NDArray[np.float64]


def pair_quality(item_quality: Array, left: Array, right: Array) -> Array:
    """A pair is as good as the worse of its two items.

    Args:
        item_quality: float (n,), such as the norms of the embeddings; 0 where no face was found.
        left: int (m,), rows of the first items.
        right: int (m,), rows of the second items.

    Returns:
        float (m,).
    """
    return np.minimum(item_quality[left], item_quality[right])


def reject_curve(
    genuine: ArrayLike, quality: ArrayLike, point: OperatingPoint | SetThreshold
) -> RejectCurve:
    """The error-versus-reject curve of Grother and Tabassi (2007) over the genuine pairs.

    Genuine pairs are rejected from the lowest quality upwards, while the threshold stays where all
    pairs had set it; pairs of equal quality are rejected together. A quality measure that knows
    which faces fail makes the curve fall. ("Performance of Biometric Quality Measures", IEEE TPAMI
    29(4), 2007, doi:10.1109/TPAMI.2007.1019; what choices it leaves open: arXiv 2303.13294.)

    Args:
        genuine: (g,) finite cosines of the genuine pairs.
        quality: (g,) finite floats, higher is better (`pair_quality`).
        point: Its threshold is used; a score at or above it is accepted.

    Returns:
        The curve at up to 191 shares of rejected pairs from 0 to 0.95; fewer where there are few
        pairs or many equal qualities.

    Raises:
        FacekdError: No pairs, unequal counts, a quality that is not finite, or a point that has no
            threshold.
    """
    score = np.asarray(genuine)
    worth = np.asarray(quality, dtype=np.float64)
    if worth.shape != score.shape or worth.ndim != 1 or not len(worth):
        raise FacekdError(
            f"{len(worth)} qualities for {len(score)} genuine pairs; give one a pair."
        )
    bad = np.flatnonzero(~np.isfinite(worth))
    if len(bad):
        raise FacekdError(
            f"the quality of genuine pair {bad[0]} is {worth[bad[0]]} ({len(bad)} of {len(worth)} "
            "are not finite); look for broken embeddings."
        )
    if point.threshold is None:
        raise FacekdError(
            f"FAR {point.target_far:g} has no threshold to hold on to while faces are rejected; "
            "choose a higher FAR."
        )
    order = np.argsort(worth, kind="stable")
    worth, failed = worth[order], score[order] < point.threshold
    cuts = np.flatnonzero(np.diff(worth, prepend=-np.inf))  # how many to reject: whole ties only
    most = np.arange(LAST + 1) * len(worth) // STEPS
    wanted = np.searchsorted(cuts, most, side="right") - 1
    rejected = cuts[np.unique(wanted)]
    failures_left = np.cumsum(failed[::-1])[::-1][rejected]
    return RejectCurve(
        target_far=point.target_far,
        threshold=point.threshold,
        rejected=rejected / len(worth),
        fnmr=failures_left / (len(worth) - rejected),
    )
