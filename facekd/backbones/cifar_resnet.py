"""The residual networks of 32-pixel images: three stages, then the mean of the last map.

He et al. (arXiv 1512.03385, section 4.2) with a projection where a stage's width changes, as in
RepDistiller and HeadSharingKD; the names of the weights are theirs, without the classifier's.
An `x4` has four times the channels behind the stem and twice in it.

| name | width | parameters | MACs at 32 pixels |
|---|---|---|---|
| resnet8 | 64 | 0.077 M | 12.5 M |
| resnet20 | 64 | 0.272 M | 40.8 M |
| resnet56 | 64 | 0.855 M | 125.7 M |
| resnet110 | 64 | 1.730 M | 253.1 M |
| resnet8x4 | 256 | 1.208 M | 177.0 M |
| resnet32x4 | 256 | 7.408 M | 1083.0 M |
"""

import torch
import torch.nn.functional as F
from torch import nn

from facekd.backbones.common import BACKBONES, average, check_least, draw_by_outputs

WIDTHS = (16, 16, 32, 64)
WIDTHS_X4 = (32, 64, 128, 256)
LEAST = 4  # pixels


class Block(nn.Module):
    """3x3 (with the stride), batch norm, ReLU, 3x3, batch norm; plus the input; ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(y + shortcut, inplace=True)


class CifarResNet(nn.Module):
    """The family's network.

    Args:
        depth: 6 n + 2 layers, n blocks a stage.
        widths: Channels of the stem and of the three stages.
        input_size: Side of the input, at least 4 pixels.

    Raises:
        FacekdError: A smaller input.
    """

    def __init__(
        self, depth: int, widths: tuple[int, int, int, int] = WIDTHS, input_size: int = 32
    ) -> None:
        super().__init__()
        check_least(input_size, LEAST)
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        self.layer1 = _stage(widths[0], widths[1], blocks, 1)
        self.layer2 = _stage(widths[1], widths[2], blocks, 2)
        self.layer3 = _stage(widths[2], widths[3], blocks, 2)
        self.embedding_dim = widths[3]
        draw_by_outputs(self)

    def stage_ends(self) -> tuple[nn.Module, ...]:
        """See `facekd.backbones.taps.Staged`."""
        return self.layer1, self.layer2, self.layer3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised float32 (n, 3, s, s) -> (n, embedding_dim)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return average(self.layer3(self.layer2(self.layer1(x))))


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = Block(inputs, outputs, stride)
    return nn.Sequential(first, *(Block(outputs, outputs, 1) for _ in range(blocks - 1)))


def _register(name: str, depth: int, widths: tuple[int, int, int, int]) -> None:
    @BACKBONES.register(name)
    def build(input_size: int = 32) -> nn.Module:
        return CifarResNet(depth, widths, input_size)


for _depth in (8, 14, 20, 32, 44, 56, 110):
    _register(f"resnet{_depth}", _depth, WIDTHS)
for _depth in (8, 32):
    _register(f"resnet{_depth}x4", _depth, WIDTHS_X4)
