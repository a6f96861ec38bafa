"""How uint8 images become a network's input: the same few numbers everywhere."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from facekd.errors import FacekdError

if TYPE_CHECKING:
    import torch

Channels = Literal["rgb", "bgr"]
Three = tuple[float, float, float]

STATISTICS: dict[str, tuple[Three, Three]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
"""Mean and standard deviation of pixels in 0..1, by channel, as networks of classes use them."""


@dataclass(frozen=True)
class Preprocess:
    """What a network wants to see: `uint8 * (hi - lo) / 255 + lo`, channels in its own order.

    With `mean` and `std` the result is standardised by channel: `(x - mean) / std`.

    Args:
        input_size: Side of the square input, pixels.
        input_range: (lo, hi), the values that 0 and 255 become.
        channels: Channel order of the network's input; images themselves are always RGB.
        mean: Of x in red, green and blue, or None; goes with `std` and an input_range of (0, 1).
        std: Likewise, above 0.

    Raises:
        FacekdError: A size below 1, a range that is not lo < hi, another channel order, or a mean
            and deviation that do not fit together.
    """

    input_size: int = 112
    input_range: tuple[float, float] = (-1.0, 1.0)
    channels: Channels = "rgb"
    mean: Three | None = None
    std: Three | None = None

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
        if (self.mean, self.std) != (None, None):
            self._check_statistics()

    def _check_statistics(self) -> None:
        numbers = [*(self.mean or ()), *(self.std or ())]
        if len(numbers) != 6 or not all(map(math.isfinite, numbers)) or min(numbers[3:]) <= 0:
            raise FacekdError(
                f"mean {self.mean} and std {self.std} do not fit: give three numbers each, "
                "deviations above 0."
            )
        if self.input_range != (0.0, 1.0):
            raise FacekdError(
                f"mean and std are of pixels in 0..1, and input_range is {self.input_range}; "
                "leave one of the two out."
            )

    @classmethod
    def from_description(cls, numbers: Mapping[str, Any]) -> Preprocess:
        """What a model's description says of its input; see `describe`."""
        lo, hi = numbers["input_range"]
        mean, std = (_three(numbers.get(key)) for key in ("mean", "std"))
        return cls(numbers["input_size"], (lo, hi), numbers["channels"], mean, std)

    def describe(self) -> dict[str, Any]:
        """The same in plain values, for a description; mean and std only where there are such."""
        found: dict[str, Any] = {
            "input_size": self.input_size,
            "input_range": list(self.input_range),
            "channels": self.channels,
        }
        if self.mean is not None and self.std is not None:
            found |= {"mean": list(self.mean), "std": list(self.std)}
        return found

    @property
    def in_words(self) -> str:
        """What the network is given: `rgb, 0..255 as -1..1`."""
        lo, hi = self.input_range
        further = f", less {self.mean} over {self.std}" if self.mean else ""
        return f"{self.channels}, 0..255 as {lo:g}..{hi:g}{further}"

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Uint8 RGB (n, 3, h, w) to the network's float32 input, on the images' device."""
        if self.mean is not None and self.std is not None:
            return self._standardize(images, self.mean, self.std)
        lo, hi = self.input_range
        if self.channels == "bgr":
            images = images.flip(1)
        return images.float() * ((hi - lo) / 255) + lo

    def _standardize(self, images: torch.Tensor, mean: Three, std: Three) -> torch.Tensor:
        """Channel by channel: numbers, not tensors, so that nothing is copied to the device."""
        import torch

        each = [images[:, c].float() * (1 / (255 * std[c])) - mean[c] / std[c] for c in range(3)]
        return torch.stack(each if self.channels == "rgb" else each[::-1], dim=1)


def _three(values: Sequence[float] | None) -> Three | None:
    if values is None:
        return None
    red, green, blue = values
    return red, green, blue
