"""Wide residual networks of 32-pixel images: wrn_depth_factor (arXiv 1605.07146), no dropout.

Batch norm and ReLU first in each block; after the third stage once more, then the mean of the map.
The names of the weights are RepDistiller's and HeadSharingKD's, without the classifier's.
"""

import torch
import torch.nn.functional as F
from torch import nn

from facekd.backbones.common import BACKBONES, average, check_least, draw_by_outputs

LEAST = 4  # pixels


class Block(nn.Module):
    """Batch norm, ReLU, 3x3 (with the stride), batch norm, ReLU, 3x3; plus the input.

    Where the width changes, the sum takes a 1x1 convolution of the input after batch norm and ReLU.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.convShortcut: nn.Module | None = None
        if inputs != outputs:
            self.convShortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        ready = F.relu(self.bn1(x), inplace=True)
        y = self.conv2(F.relu(self.bn2(self.conv1(ready)), inplace=True))
        shortcut: torch.Tensor = x if self.convShortcut is None else self.convShortcut(ready)
        return shortcut.add(y)


class Stage(nn.Module):
    """Some blocks, the first with the stride; they are called `layer` in the weights' names."""

    def __init__(self, inputs: int, outputs: int, blocks: int, stride: int) -> None:
        super().__init__()
        first = Block(inputs, outputs, stride)
        self.layer = nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        return self.layer(x)  # type: ignore[no-any-return]


class WideResNet(nn.Module):
    """The family's network.

    Args:
        depth: 6 n + 4 layers, n blocks a stage.
        factor: Stages have 16, 32 and 64 channels times this.
        input_size: Side of the input, at least 4 pixels.

    Raises:
        FacekdError: A smaller input.
    """

    def __init__(self, depth: int, factor: int, input_size: int = 32) -> None:
        super().__init__()
        check_least(input_size, LEAST)
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.block1 = Stage(16, 16 * factor, blocks, 1)
        self.block2 = Stage(16 * factor, 32 * factor, blocks, 2)
        self.block3 = Stage(32 * factor, 64 * factor, blocks, 2)
        self.bn1 = nn.BatchNorm2d(64 * factor)
        self.embedding_dim = 64 * factor
        draw_by_outputs(self)

    def stage_ends(self) -> tuple[nn.Module, ...]:
        """See `facekd.backbones.taps.Staged`."""
        return self.block1, self.block2, self.block3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised float32 (n, 3, s, s) -> (n, embedding_dim)."""
        x = self.block3(self.block2(self.block1(self.conv1(x))))
        return average(F.relu(self.bn1(x), inplace=True))


def _register(depth: int, factor: int) -> None:
    @BACKBONES.register(f"wrn_{depth}_{factor}")
    def build(input_size: int = 32) -> nn.Module:
        return WideResNet(depth, factor, input_size)


for _depth in (16, 40):
    for _factor in (1, 2):
        _register(_depth, _factor)
