"""The images by which a quantizer learns what ranges of numbers a network sees."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.data.image_batches import image_batches
from facekd.data_tools.labelled import open_labelled
from facekd.errors import FacekdError
from facekd.export.facts import INPUT_NAME

BATCH = 8  # a histogram calibrator keeps every number of every layer of so many images


@dataclass(frozen=True)
class CalibrationSet:
    """Decoded images and what they are.

    Attributes:
        pixels: Uint8 RGB (n, s, s, 3).
        words: How many of what: "512 of the 4536 images of train".
    """

    pixels: NDArray[np.uint8]
    words: str


def calibration_set(source: str | Path, count: int, size: int) -> CalibrationSet:
    """Draw images from a set, the same ones every time, and decode them.

    Args:
        source: A folder of `NAME/*.jpg`, a `.rec` file or tar shards.
        count: How many; all where there are fewer.
        size: Their side, pixels; others are resized.

    Raises:
        FacekdError: There is no such set, it is empty, or one of these images does not decode.
    """
    found = open_labelled(source)
    total = len(found.images)
    if not total:
        raise FacekdError(f"--calibrate {source} holds no images; give a set of faces.")
    rows = np.random.default_rng(0).permutation(total)[:count]
    images = found.images.take(np.sort(rows).astype(np.int64))
    chosen = range(len(rows))
    with image_batches(images, size, chosen, batch_size=64, workers=0) as batches:
        pixels = np.concatenate(list(batches))
    return CalibrationSet(pixels, f"{len(rows)} of the {total} images of {found.name}")


@dataclass
class CalibrationReader:
    """The images as onnxruntime asks for them; by duck typing its CalibrationDataReader.

    Its length and ranges count batches, so that with a stride of 1 it looks at one batch at a time.

    Attributes:
        pixels: Uint8 RGB (n, s, s, 3).
        left: The numbers of the batches that are to come.
    """

    pixels: NDArray[np.uint8]
    left: list[int] = field(default_factory=list)

    def __len__(self) -> int:
        return -(-len(self.pixels) // BATCH)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Begin again, with these batches."""
        self.left = list(range(start_index, end_index))

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """The next batch as the graph takes it, or None."""
        if not self.left:
            return None
        start = self.left.pop(0) * BATCH
        block = self.pixels[start : start + BATCH].transpose(0, 3, 1, 2)
        return {INPUT_NAME: (block.astype(np.float32) - 127.5) / np.float32(127.5)}
