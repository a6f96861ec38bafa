"""How uint8 images become a network's input: the same few numbers everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from facekd.errors import FacekdError

if TYPE_CHECKING:
    import torch

Channels = Literal["rgb", "bgr"]


@dataclass(frozen=True)
class Preprocess:
    """What a network wants to see: `uint8 * (hi - lo) / 255 + lo`, channels in its own order.

    Args:
        input_size: Side of the square input, pixels.
        input_range: (lo, hi), the values that 0 and 255 become.
        channels: Channel order of the network's input; images themselves are always RGB.

    Raises:
        FacekdError: A size below 1, a range that is not lo < hi, or another channel order.
    """

    input_size: int = 112
    input_range: tuple[float, float] = (-1.0, 1.0)
    channels: Channels = "rgb"

    def __post_init__(self) -> None:
        lo, hi = self.input_range
        if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
            raise FacekdError(
                f"input_range ({lo}, {hi}) is not a range: give (lo, hi) with lo < hi."
            )
        if self.input_size < 1:
            raise FacekdError(f"input_size {self.input_size} is not a number of pixels.")
        if self.channels not in ("rgb", "bgr"):
            raise FacekdError(f"channels {self.channels!r} is not an order: use 'rgb' or 'bgr'.")

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 RGB (n, 3, h, w) to the network's float32 input, on the images' device."""
        lo, hi = self.input_range
        if self.channels == "bgr":
            images = images.flip(1)
        return images.float() * ((hi - lo) / 255) + lo
