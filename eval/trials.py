"""The pairs of a bench as the numbers see them: who is compared with whom, no images, no scores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Trials:
    """One bench's pairs, in the order of its scores.

    Attributes:
        same: bool (m,), True for a genuine pair.
        folds: int64 (m,), each pair's fold; None where the protocol has none (then no accuracy).
        groups: str (m,), each pair's group, "" for none; None where no groups were given.
        subjects: int32 (m, 2), the two people of each pair by number; None where nobody asked for
            a bootstrap or they are not known.
        subjects_from: What says who they are ("pairs.txt"), "inferred ..." where they were, or the
            reason why they are not known.
    """

    same: NDArray[np.bool_]
    folds: NDArray[np.int64] | None = None
    groups: NDArray[np.str_] | None = None
    subjects: NDArray[np.int32] | None = None
    subjects_from: str = ""

    def __len__(self) -> int:
        return len(self.same)

    @property
    def genuine(self) -> int:
        """How many genuine pairs."""
        return int(np.count_nonzero(self.same))

    @property
    def impostors(self) -> int:
        """How many impostor pairs."""
        return len(self.same) - self.genuine

    def same_as(self, other: "Trials") -> bool:
        """Whether both are of the same pairs, in folds, groups and people too."""
        names = ("same", "folds", "groups", "subjects")
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in names)
