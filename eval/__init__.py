"""From scores to numbers to pictures; nothing here needs torch but embed.py."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .operating import FarRule, OperatingPoint

__all__ = ["tar_at_far"]


def tar_at_far(
    scores: "ArrayLike", labels: "ArrayLike", far: float, rule: "FarRule" = "strict"
) -> "OperatingPoint":
    """The TAR at a target FAR, from scores and answers as they come.

    `operating.tar_at_far` has the rule; sort once and ask that one where there are many FARs.

    Args:
        scores: (m,) finite numbers, higher for pairs that are more alike.
        labels: (m,) truth values, True (1) for a genuine pair.
        far: The target, in (0, 1].
        rule: `strict`: the largest TAR whose FAR is at or below the target; `nearest`:
            insightface's.

    Returns:
        `tar` with its 95 % `interval`, `threshold`, the `far` it really has, and more; where the
        set has too few impostors for an answer `tar` is None and `reason` says so.

    Raises:
        FacekdError: Unequal counts, a score that is not finite, pairs of one class only, answers
            that are neither 0 nor 1, or a target or a rule that is none.
    """
    import numpy as np

    from ..errors import FacekdError
    from .operating import tar_at_far
    from .scores import sort_scores

    answers = np.asarray(labels)
    other = np.flatnonzero((answers != 0) & (answers != 1))
    if len(other):
        raise FacekdError(
            f"the label of pair {other[0]} is {answers.ravel()[other[0]]!r}; give 1 for a genuine "
            "pair and 0 for an impostor pair."
        )
    return tar_at_far(sort_scores(scores, labels), far, rule)
