"""ShuffleNet V1 and V2 for 32-pixel images: a stem without stride, then three stages that halve.

V1 (arXiv 1707.01083) with 3 groups and 240, 480, 960 channels; V2 (arXiv 1807.11164) at width 1
with 116, 232, 464 and then 1024. As in RepDistiller and HeadSharingKD, whose names of the weights
these are, without the classifier's: V1's channels are shuffled before the depthwise convolution,
and V2 has no pooling in the stem.
"""

import torch
import torch.nn.functional as F
from torch import nn

from facekd.backbones.common import BACKBONES, average, check_least

STEM = 24  # channels
LEAST = 8  # pixels


def shuffled(x: torch.Tensor, groups: int) -> torch.Tensor:
    """(n, c, h, w) with channel i of group g at place i groups + g."""
    n, c, h, w = x.shape
    return x.view(n, groups, c // groups, h, w).transpose(1, 2).reshape(n, c, h, w)


def _one(inputs: int, outputs: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, groups=groups, bias=False)


def _depthwise(channels: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)


class UnitV1(nn.Module):
    """1x1 in groups, shuffle, depthwise 3x3, 1x1 in groups; the input is added.

    The first of a stage has stride 2, and the input's averages follow its channels instead.
    """

    def __init__(self, inputs: int, outputs: int, stride: int, groups: int) -> None:
        super().__init__()
        middle = outputs // 4
        self.stride = stride
        self.groups = 1 if inputs == STEM else groups
        self.conv1 = _one(inputs, middle, self.groups)
        self.bn1 = nn.BatchNorm2d(middle)
        self.conv2 = _depthwise(middle, stride)
        self.bn2 = nn.BatchNorm2d(middle)
        self.conv3 = _one(middle, outputs, groups)
        self.bn3 = nn.BatchNorm2d(outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h, w), or (n, outputs + inputs, h / 2, w / 2)."""
        y = shuffled(F.relu(self.bn1(self.conv1(x)), inplace=True), self.groups)
        y = F.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        if self.stride == 1:
            return F.relu(y + x, inplace=True)
        return F.relu(torch.cat([y, F.avg_pool2d(x, 3, 2, padding=1)], dim=1), inplace=True)


class HalvingV2(nn.Module):
    """The first unit of a stage: two branches with stride 2, joined and shuffled."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.conv1 = _depthwise(inputs, 2)
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv2 = _one(inputs, half)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = _one(inputs, half)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = _depthwise(half, 2)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = _one(half, half)
        self.bn5 = nn.BatchNorm2d(half)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / 2, w / 2)."""
        left = F.relu(self.bn2(self.conv2(self.bn1(self.conv1(x)))), inplace=True)
        right = F.relu(self.bn3(self.conv3(x)), inplace=True)
        right = F.relu(self.bn5(self.conv5(self.bn4(self.conv4(right)))), inplace=True)
        return shuffled(torch.cat([left, right], dim=1), 2)


class UnitV2(nn.Module):
    """1x1, depthwise 3x3, 1x1 on the second half of the channels; joined and shuffled."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = _one(half, half)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = _depthwise(half, 1)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = _one(half, half)
        self.bn3 = nn.BatchNorm2d(half)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> the same shape."""
        kept, y = x.chunk(2, dim=1)
        y = F.relu(self.bn1(self.conv1(y)), inplace=True)
        y = F.relu(self.bn3(self.conv3(self.bn2(self.conv2(y)))), inplace=True)
        return shuffled(torch.cat([kept, y], dim=1), 2)


class ShuffleNet(nn.Module):
    """Stem, three stages, for V2 a last 1x1 convolution, and the mean of the map.

    Args:
        stages: Three modules in a row.
        width: Channels of the last stage.
        last: Channels of a 1x1 convolution behind it, or None.
        input_size: Side of the input, at least 8 pixels.

    Raises:
        FacekdError: A smaller input.
    """

    def __init__(
        self, stages: list[nn.Sequential], width: int, last: int | None, input_size: int
    ) -> None:
        super().__init__()
        check_least(input_size, LEAST)
        self.conv1 = _one(3, STEM)
        self.bn1 = nn.BatchNorm2d(STEM)
        self.layer1, self.layer2, self.layer3 = stages
        self.conv2 = None if last is None else _one(width, last)
        self.bn2 = None if last is None else nn.BatchNorm2d(last)
        self.embedding_dim = last or width

    def stage_ends(self) -> tuple[nn.Module, ...]:
        """See `facekd.backbones.taps.Staged`."""
        return self.layer1, self.layer2, self.layer3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised float32 (n, 3, s, s) -> (n, embedding_dim)."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = self.layer3(self.layer2(self.layer1(x)))
        if self.conv2 is not None and self.bn2 is not None:
            x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return average(x)


@BACKBONES.register("shufflenet_v1", "ShuffleV1")
def shufflenet_v1(input_size: int = 32) -> nn.Module:
    """ShuffleNet V1 with 3 groups, 960 wide."""
    stages, inputs = [], STEM
    for outputs, units in ((240, 4), (480, 8), (960, 4)):
        first = UnitV1(inputs, outputs - inputs, 2, 3)
        stages.append(
            nn.Sequential(first, *(UnitV1(outputs, outputs, 1, 3) for _ in range(units - 1)))
        )
        inputs = outputs
    return ShuffleNet(stages, inputs, None, input_size)


@BACKBONES.register("shufflenet_v2", "ShuffleV2")
def shufflenet_v2(input_size: int = 32) -> nn.Module:
    """ShuffleNet V2 at width 1, 1024 wide."""
    stages, inputs = [], STEM
    for outputs, units in ((116, 3), (232, 7), (464, 3)):
        first = HalvingV2(inputs, outputs)
        stages.append(nn.Sequential(first, *(UnitV2(outputs) for _ in range(units))))
        inputs = outputs
    return ShuffleNet(stages, inputs, 1024, input_size)
