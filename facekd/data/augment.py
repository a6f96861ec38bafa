"""What training does to an image before the network sees it, by number: the image's look.

A look is an int64. Its lowest bit says whether the image is mirrored; the rest is the number of a
drawing of crops and colours. The same image under the same look is the same to the last bit, in any
process and any run, so a teacher's embedding of it can be kept.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facekd.data_tools.images import Image, resize
from facekd.recipe import Data, RandAugment

_DRAWINGS = 2**61
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_TRIES = 10  # rectangles that may not fit into the image


@dataclass(frozen=True)
class Augment:
    """Mirroring, and crops and colours drawn at random.

    Attributes:
        flip: Mirror every second image.
        crop: The largest part of a side that a crop cuts away, in [0, 1).
        colour: How far brightness, contrast and saturation may be from 1, in [0, 1).
        views: Drawings of crop and colour that an image can have; None: a new one every time.
        pad: Width of the black frame out of which, with the image, a part is cut.
        resized_crop: The smallest part of the area that a rectangle has; 0: none is cut out.
        size: Side of what a resized crop gives, pixels.
        randaugment: Operations besides, or None.
    """

    flip: bool = True
    crop: float = 0.0
    colour: float = 0.0
    views: int | None = None
    pad: int = 0
    resized_crop: float = 0.0
    size: int = 0
    randaugment: RandAugment | None = None

    @classmethod
    def of(cls, data: Data, views: int = 1, size: int = 0) -> "Augment":
        """A recipe's, for inputs of a size; `views` above 1 keeps so many drawings per image."""
        return cls(
            data.flip,
            data.crop,
            data.colour,
            views if views > 1 else None,
            data.pad,
            data.resized_crop,
            size if data.resized_crop else 0,
            data.randaugment,
        )

    @property
    def drawn(self) -> tuple[str, ...]:
        """What is drawn at random besides mirroring, by the names of the recipe's keys."""
        names = ("crop", "colour", "pad", "resized_crop", "randaugment")
        return tuple(name for name in names if getattr(self, name))

    @property
    def drawings(self) -> int:
        """How many drawings of crops and colours there are."""
        return self.views or _DRAWINGS if self.drawn else 1

    @property
    def looks(self) -> int | None:
        """How many looks an image can have, two a drawing; None: more than can be kept."""
        return None if self.drawings == _DRAWINGS else 2 * self.drawings

    @property
    def fingerprint(self) -> str:
        """Tells apart what the looks of one image are; "" where they are mirroring only."""
        if self.drawings == 1:
            return ""
        text = f"crop={self.crop} colour={self.colour} views={self.views}"
        later = ("pad", "resized_crop", "randaugment")
        return text + "".join(
            f" {name}={getattr(self, name)}" for name in later if name in self.drawn
        )

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
            image: uint8 RGB (s, s, 3); with `resized_crop` of any shape.
            position: Where the image stands in its set; two images are not cropped alike.
            look: From `draw`.

        Returns:
            uint8 RGB (s, s, 3).
        """
        if self.drawings > 1:
            rng = np.random.default_rng((position, look >> 1))
            if self.resized_crop:
                image = _resized_crop(image, self.resized_crop, self.size, rng)
            image = _colours(_crop(image, self.crop, rng), self.colour, rng)
            if self.pad:
                image = _shift(image, self.pad, rng)
            if self.randaugment:
                image = _randaugment(image, self.randaugment, rng)
        return image[:, ::-1] if look & 1 else image


def _crop(image: Image, most: float, rng: np.random.Generator) -> Image:
    """A square at a random place, enlarged to the image's size."""
    size = len(image)
    side = round(size * (1 - most * rng.random()))
    top, left = rng.integers(size - side + 1, size=2)
    if side == size:
        return image
    return resize(np.ascontiguousarray(image[top : top + side, left : left + side]), size)


def _resized_crop(image: Image, least: float, size: int, rng: np.random.Generator) -> Image:
    """A rectangle of `least` to the whole of the area at a random place, made a square.

    Area and, by its logarithm, the sides' ratio are uniform; where ten rectangles do not fit, the
    largest central one whose ratio is allowed is taken, as in torchvision's RandomResizedCrop.
    """
    height, width = image.shape[:2]
    for _ in range(_TRIES):
        area = height * width * rng.uniform(least, 1)
        ratio = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
            break
    else:
        w, h = min(width, round(height * 4 / 3)), min(height, round(width * 4 / 3))
        top, left = (height - h) // 2, (width - w) // 2
    return resize(np.ascontiguousarray(image[top : top + h, left : left + w]), size)


def _shift(image: Image, pad: int, rng: np.random.Generator) -> Image:
    """A part of the image's size out of the image in a black frame."""
    framed = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    top, left = rng.integers(2 * pad + 1, size=2)
    return framed[top : top + len(image), left : left + image.shape[1]]


def _randaugment(image: Image, settings: RandAugment, rng: np.random.Generator) -> Image:
    """RandAugment by torchvision; torch's own random numbers stay as they are."""
    import torch
    from torchvision.transforms import RandAugment as Operations

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        changed = Operations(settings.operations, settings.magnitude)(pixels)
        done: Image = changed.permute(1, 2, 0).contiguous().numpy()
    return done


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
