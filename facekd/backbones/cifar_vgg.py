"""VGG with batch norm for 32-pixel images: five blocks, then the mean of the last map.

Simonyan and Zisserman (arXiv 1409.1556) without their three linear layers, as in RepDistiller and
HeadSharingKD, whose names of the weights these are, without the classifier's.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from facekd.backbones.common import BACKBONES, average, check_least, draw_by_outputs

CHANNELS = (64, 128, 256, 512, 512)
LAYERS = {  # convolutions of each block
    "vgg8": (1, 1, 1, 1, 1),
    "vgg11": (1, 1, 2, 2, 2),
    "vgg13": (2, 2, 2, 2, 2),
    "vgg16": (2, 2, 3, 3, 3),
    "vgg19": (2, 2, 4, 4, 4),
}
FOURTH_POOL = 64  # from so many pixels on, a block's map is halved once more
LEAST = 8  # pixels


class Vgg(nn.Module):
    """The family's network.

    Args:
        layers: Convolutions in each of the five blocks.
        input_size: Side of the input, at least 8 pixels.

    Raises:
        FacekdError: A smaller input.
    """

    def __init__(self, layers: Sequence[int], input_size: int = 32) -> None:
        super().__init__()
        check_least(input_size, LEAST)
        widths = zip((3, *CHANNELS), CHANNELS, layers, strict=False)
        parts = [Block(inputs, outputs, count) for inputs, outputs, count in widths]
        self.block0, self.block1, self.block2, self.block3, self.block4 = parts
        self.pools = 4 if input_size >= FOURTH_POOL else 3
        self.embedding_dim = CHANNELS[-1]
        draw_by_outputs(self)

    def stage_ends(self) -> tuple[nn.Module, ...]:
        """See `facekd.backbones.taps.Staged`; the first block is RepDistiller's number 0."""
        return self.block1, self.block2, self.block3, self.block4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised float32 (n, 3, s, s) -> (n, 512)."""
        blocks = (self.block0, self.block1, self.block2, self.block3, self.block4)
        for number, block in enumerate(blocks):
            x = block(x)
            if number < self.pools:
                x = F.max_pool2d(x, 2)
        return average(x)


class Block(nn.Sequential):
    """A block: 3x3 convolution, batch norm, ReLU, some times over."""

    def __init__(self, inputs: int, outputs: int, count: int) -> None:
        modules: list[nn.Module] = []
        for _ in range(count):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
            modules += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
            inputs = outputs
        super().__init__(*modules)


def _register(name: str) -> None:
    @BACKBONES.register(name)
    def build(input_size: int = 32) -> nn.Module:
        return Vgg(LAYERS[name], input_size)


for _name in LAYERS:
    _register(_name)
