"""ResNet-50 for 32-pixel images: ImageNet's blocks behind a 3x3 stem without stride, 2048 wide.

He et al. (arXiv 1512.03385) with the stride in the 3x3 convolution, as in RepDistiller and
HeadSharingKD, whose names of the weights these are, without the classifier's.
"""

import torch
import torch.nn.functional as F
from torch import nn

from facekd.backbones.common import BACKBONES, average, check_least, draw_by_outputs

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))  # channels, blocks, stride
EXPANSION = 4
LEAST = 8  # pixels


class Bottleneck(nn.Module):
    """1x1, 3x3 (with the stride), 1x1 to four times the channels; plus the input; ReLU."""

    def __init__(self, inputs: int, channels: int, stride: int) -> None:
        super().__init__()
        outputs = channels * EXPANSION
        self.conv1 = nn.Conv2d(inputs, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            projection = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, 4 channels, h / stride, w / stride)."""
        y = F.relu(self.bn1(self.conv1(x)), inplace=True)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        return F.relu(self.bn3(self.conv3(y)) + self.shortcut(x), inplace=True)


class CifarResNet50(nn.Module):
    """The network.

    Args:
        input_size: Side of the input, at least 8 pixels.

    Raises:
        FacekdError: A smaller input.
    """

    def __init__(self, input_size: int = 32) -> None:
        super().__init__()
        check_least(input_size, LEAST)
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        inputs, stages = 64, []
        for channels, count, stride in STAGES:
            blocks = []
            for k in range(count):
                blocks.append(Bottleneck(inputs, channels, 1 if k else stride))
                inputs = channels * EXPANSION
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.embedding_dim = inputs
        draw_by_outputs(self)

    def stage_ends(self) -> tuple[nn.Module, ...]:
        """See `facekd.backbones.taps.Staged`."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised float32 (n, 3, s, s) -> (n, 2048)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return average(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


@BACKBONES.register("resnet50_cifar", "ResNet50")
def resnet50_cifar(input_size: int = 32) -> nn.Module:
    """The network."""
    return CifarResNet50(input_size)
