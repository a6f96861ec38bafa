"""Whether an exported file gives the network's embeddings: on images, after it was written."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.errors import FacekdError

IMAGES = 4


@dataclass(frozen=True)
class Agreement:
    """How near an exported file's embeddings are to the network's own.

    Attributes:
        difference: Largest absolute difference of two numbers.
        relative: The same over the largest absolute number of the network's embeddings.
        cosine: Smallest cosine of an image's two embeddings.
        mean_cosine: Their mean.
    """

    difference: float
    relative: float
    cosine: float
    mean_cosine: float

    def words(self) -> str:
        """In one line without a full stop."""
        return (
            f"largest difference {self.difference:.2g} ({self.relative:.1g} of the largest "
            f"number), cosine at least {self.cosine:.7f}"
        )


def random_images(size: int, count: int = IMAGES) -> NDArray[np.uint8]:
    """Noise, the same every time: uint8 RGB (count, size, size, 3)."""
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def agreement(ours: NDArray[Any], theirs: NDArray[Any]) -> Agreement:
    """Compare embeddings of the same images.

    Args:
        ours: (n, d), the network's.
        theirs: (n, d), the file's.

    Raises:
        FacekdError: The file's have another shape, or are not finite.
    """
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    if a.shape != b.shape or not np.isfinite(b).all():
        what = (
            f"have the shape {b.shape}, not {a.shape}" if a.shape != b.shape else "are not finite"
        )
        raise FacekdError(f"the exported embeddings {what}.")
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)
    largest = float(np.abs(a - b).max())
    relative = largest / float(np.abs(a).max())
    return Agreement(largest, relative, float(cosines.min()), float(cosines.mean()))


def expect(found: Agreement, tolerance: float, file: str) -> None:
    """Stop where a file is further from the network than it may be.

    Args:
        found: How near it is.
        tolerance: Largest `relative` allowed.
        file: Its name, for the message.

    Raises:
        FacekdError: It is too far.
    """
    if not found.relative <= tolerance:
        raise FacekdError(
            f"{file} is not the network: {found.words()}, and {tolerance:g} is allowed; nothing "
            "was written."
        )
