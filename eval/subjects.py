"""Who is who, worked out from the pairs where no file says it."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FacekdError


def infer_subjects(
    items: int, left: ArrayLike, right: ArrayLike, same: ArrayLike
) -> NDArray[np.int32]:
    """The subject of every item: the connected components of the genuine pairs.

    If a and b are one person, and b and c, then so are a and c. Items that no genuine pair joins
    count as different people, so one person may be taken for several, never several for one.

    Args:
        items: How many items (images or templates) there are.
        left: int (m,), rows of the first items, each below `items`.
        right: int (m,), rows of the second items.
        same: bool (m,), True for a genuine pair.

    Returns:
        int32 (items,), subjects numbered from 0 in the order of their first items.

    Raises:
        FacekdError: An impostor pair joins two items that genuine pairs say are one person.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    first, second = np.asarray(left), np.asarray(right)
    answer: NDArray[np.bool_] = np.asarray(same, dtype=np.bool_)
    edges = first[answer], second[answer]
    ones = np.ones(len(edges[0]), dtype=np.int32)
    _, found = connected_components(coo_array((ones, edges), shape=(items, items)), directed=False)
    subjects: NDArray[np.int32] = found.astype(np.int32)
    wrong = np.flatnonzero((subjects[first] == subjects[second]) & ~answer)
    if len(wrong):
        pair = wrong[0]
        raise FacekdError(
            f"pair {pair} is an impostor pair, but genuine pairs join its items {first[pair]} and "
            f"{second[pair]} through others ({len(wrong)} such pairs); correct the pairs' labels."
        )
    return subjects
