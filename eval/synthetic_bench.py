"""The bench that needs no file: pairs of drawn faces, always the same ones."""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ..data_tools.drawn_pairs import from_labels
from ..data_tools.pairs import FOLDS, PairSet
from ..data_tools.synthetic import SyntheticFaces
from ..fingerprint import fingerprint

SYNTHETIC = "synthetic"
IDENTITIES = 600
IMAGES_EACH = 8
PAIRS = 20_000
SYNTHETIC_SOURCE = (
    f"synthetic: {IDENTITIES} drawn identities x {IMAGES_EACH} images, none of them in training"
)


@dataclass(frozen=True)
class _Drawn:
    """Synthetic faces as a sequence of images; each is drawn once and kept (180 MB at 112 px)."""

    faces: SyntheticFaces
    kept: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        if index not in self.kept:
            self.kept[index] = self.faces.image(index)
        return self.kept[index]


def synthetic_pairs(
    size: int,
    *,
    identities: int = IDENTITIES,
    images_each: int = IMAGES_EACH,
    pairs: int = PAIRS,
) -> PairSet:
    """Pairs of drawn faces of evaluation identities, always the same ones.

    Args:
        size: Side of the images in pixels.
        identities: How many identities.
        images_each: Images of each.
        pairs: Pairs in all, half of them genuine.
    """
    faces = SyntheticFaces(identities, images_each, size=size, split="eval")
    drawn = _Drawn(faces)
    made = from_labels(drawn, faces.labels, pairs, FOLDS, name=SYNTHETIC)
    # the first image changes when the drawing does
    marks: list[str | bytes] = [
        f"{SYNTHETIC} {identities} x {images_each}, {size}",
        drawn[0].tobytes(),
    ]
    return replace(made, source=SYNTHETIC_SOURCE, fingerprint=fingerprint(marks))
