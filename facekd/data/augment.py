"""What training does to an image before the network sees it, by number: the image's look.

A look is an int64. Its lowest bit says whether the image is mirrored; the rest is the number of a
drawing of crop and colours. The same image under the same look is the same to the last bit, in any
process and any run, so a teacher's embedding of it can be kept.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.data_tools.images import Image, resize
from facekd.recipe import Data

_DRAWINGS = 2**61
_GREY = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Augment:
    """Mirroring, and crops and colours drawn at random.

    Attributes:
        flip: Mirror every second image.
        crop: The largest part of a side that a crop cuts away, in [0, 1).
        colour: How far brightness, contrast and saturation may be from 1, in [0, 1).
        views: Drawings of crop and colour that an image can have; None: a new one every time.
    """

    flip: bool = True
    crop: float = 0.0
    colour: float = 0.0
    views: int | None = None

    @classmethod
    def of(cls, data: Data, views: int = 1) -> "Augment":
        """A recipe's; `views` above 1 keeps so many drawings per image."""
        return cls(data.flip, data.crop, data.colour, views if views > 1 else None)

    @property
    def drawings(self) -> int:
        """How many drawings of crop and colour there are."""
        if not (self.crop or self.colour):
            return 1
        return self.views or _DRAWINGS

    @property
    def looks(self) -> int | None:
        """How many looks an image can have, two a drawing; None: more than can be kept."""
        return None if self.drawings == _DRAWINGS else 2 * self.drawings

    @property
    def fingerprint(self) -> str:
        """Tells apart what the looks of one image are; "" where they are mirroring only."""
        if self.drawings == 1:
            return ""
        return f"crop={self.crop} colour={self.colour} views={self.views}"

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Looks for so many images, int64 (count,)."""
        looks = np.zeros(count, np.int64)
        if self.flip:
            looks += rng.random(count) < 0.5
        if self.drawings > 1:
            looks += 2 * rng.integers(self.drawings, size=count)
        return looks

    def apply(self, image: Image, position: int, look: int) -> Image:
        """An image under a look.

        Args:
            image: uint8 RGB (s, s, 3).
            position: Where the image stands in its set; two images are not cropped alike.
            look: From `draw`.

        Returns:
            uint8 RGB (s, s, 3).
        """
        if self.drawings > 1:
            rng = np.random.default_rng((position, look >> 1))
            image = _colours(_crop(image, self.crop, rng), self.colour, rng)
        return image[:, ::-1] if look & 1 else image


def _crop(image: Image, most: float, rng: np.random.Generator) -> Image:
    """A square at a random place, enlarged to the image's size."""
    size = len(image)
    side = round(size * (1 - most * rng.random()))
    top, left = rng.integers(size - side + 1, size=2)
    if side == size:
        return image
    return resize(np.ascontiguousarray(image[top : top + side, left : left + side]), size)


def _colours(image: Image, most: float, rng: np.random.Generator) -> Image:
    """Brightness, contrast about the mean grey, and saturation, each by a factor in 1 +- most."""
    brightness, contrast, saturation = 1 + most * rng.uniform(-1, 1, 3).astype(np.float32)
    if not most:
        return image
    pixels = image.astype(np.float32) * brightness
    grey = pixels @ _GREY
    mean = grey.mean()
    pixels = (pixels - grey[..., None]) * saturation + grey[..., None]
    pixels = (pixels - mean) * contrast + mean
    changed: Image = pixels.round().clip(0, 255).astype(np.uint8)
    return changed
