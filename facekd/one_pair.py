"""Are these two the same person: one pair, one threshold, one answer."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import FacekdError
from facekd.eval.pair_scores import cosine_scores

if TYPE_CHECKING:
    from facekd.embedder import Embedder

Array = NDArray[Any]


@dataclass(frozen=True)
class Verdict:
    """What a threshold says of two faces.

    Attributes:
        similarity: Cosine of the two embeddings, -1..1.
        threshold: What it was held against.
        same: Whether it is at or above: the two are taken for one person.
    """

    similarity: float
    threshold: float
    same: bool


def verify(
    a: Array,
    b: Array,
    threshold: float,
    *,
    model: "Embedder | None" = None,
    flip: bool = False,
) -> Verdict:
    """Decide whether two faces are one person's.

    Args:
        a: An embedding, float (d,) of any norm but zero; or, with `model`, an aligned crop, uint8
            RGB (s, s, 3) with s the network's input size.
        b: The other one.
        threshold: A cosine; `facekd.eval.tar_at_far` gives that of a FAR, on pairs like yours and
            embeddings made alike (same network, same `flip`).
        model: What embeds crops; None for embeddings.
        flip: Add the embeddings of the mirrored crops.

    Raises:
        FacekdError: Two different shapes, crops without a model or of another size, an embedding
            that is zero or not finite, or a threshold that is no cosine.
    """
    if not -1 <= threshold <= 1:
        raise FacekdError(f"the threshold {threshold} is no cosine, a number from -1 to 1.")
    one, other = np.asarray(a), np.asarray(b)
    dimensions = 1 if model is None else 3
    if one.shape != other.shape or one.ndim != dimensions:
        wanted = "two embeddings (d,), or two aligned crops and model="
        raise FacekdError(f"two faces of shapes {one.shape} and {other.shape}; give {wanted}.")
    pair = np.stack([one, other])
    if model is not None:
        pair = model.embed(pair, flip=flip)
    elif flip:
        raise FacekdError("flip is about crops, and embeddings are given; leave it out.")
    first, second = np.array([0]), np.array([1])
    similarity = float(cosine_scores(pair, first, second)[0])
    return Verdict(similarity, float(threshold), similarity >= threshold)
