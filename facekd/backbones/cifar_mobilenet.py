"""MobileNetV2 at half width for 32-pixel images (arXiv 1801.04381), 1280 wide.

As in RepDistiller and HeadSharingKD, whose names of the weights these are, without the
classifier's: strides stand so that 32 pixels end as 2 x 2, and nothing is clipped at 6 (ReLU).
"""

import torch
from torch import nn

from facekd.backbones.common import BACKBONES, average, check_least, draw_by_outputs

# channels at full width, blocks, stride of the first
STAGES = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))
EXPANSION = 6
LAST = 1280
LEAST = 8  # pixels


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """With batch norm and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class InvertedResidual(nn.Module):
    """1x1 that widens, depthwise 3x3, 1x1 that narrows; plus the input where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.conv = nn.Sequential(
            *_convolution(inputs, wide, 1),
            nn.Conv2d(wide, wide, 3, stride, padding=1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(inplace=True),
            nn.Conv2d(wide, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        y: torch.Tensor = self.conv(x)
        return x + y if self.adds else y


class MobileNetV2(nn.Module):
    """The network.

    Args:
        width: Factor on all channels but the last.
        input_size: Side of the input, at least 8 pixels.

    Raises:
        FacekdError: A smaller input.
    """

    def __init__(self, width: float, input_size: int = 32) -> None:
        super().__init__()
        check_least(input_size, LEAST)
        inputs = int(32 * width)
        self.conv1 = nn.Sequential(*_convolution(3, inputs, 3, 2))
        self.blocks = nn.ModuleList()
        for number, (channels, count, stride) in enumerate(STAGES):
            outputs = int(channels * width)
            expansion = EXPANSION if number else 1
            blocks = []
            for k in range(count):
                blocks.append(InvertedResidual(inputs, outputs, 1 if k else stride, expansion))
                inputs = outputs
            self.blocks.append(nn.Sequential(*blocks))
        self.conv2 = nn.Sequential(*_convolution(inputs, LAST, 1))
        self.embedding_dim = LAST
        draw_by_outputs(self)

    def stage_ends(self) -> tuple[nn.Module, ...]:
        """See `facekd.backbones.taps.Staged`."""
        return self.blocks[1], self.blocks[2], self.blocks[4], self.blocks[6]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised float32 (n, 3, s, s) -> (n, 1280)."""
        x = self.conv1(x)
        for block in self.blocks:
            x = block(x)
        return average(self.conv2(x))


@BACKBONES.register("mobilenet_v2_half", "mobile_half", "MobileNetV2")
def mobilenet_v2_half(input_size: int = 32) -> nn.Module:
    """Half the channels."""
    return MobileNetV2(0.5, input_size)
