"""IResNet: the residual networks face recognition uses as teachers (insightface's layout).

Batch norm first in each block, no activation after the sum (arXiv 2004.04989; insightface's
arcface_torch), a 3x3 stem without stride, then a linear layer over the whole last map instead of
pooling. AdaFace's IR networks are the same but for two things: the first shortcut takes every
second pixel (`subsample`), and the last batch norm has no scale and shift (`affine` off). `se` adds
squeeze-and-excitation to every block. At 112 pixels with a 512-d embedding:

| name | blocks a stage | parameters | MACs |
|---|---|---|---|
| iresnet18 | 2-2-2-2 | 24.03 M | 2.61 G |
| iresnet34 | 3-4-6-3 | 34.14 M | 4.46 G |
| iresnet50 | 3-4-14-3 | 43.59 M | 6.31 G |
| iresnet100 | 3-13-30-3 | 65.16 M | 12.09 G |
| iresnet200 | 6-26-60-6 | 118.83 M | 23.42 G |
"""

from collections.abc import Sequence

import torch
from torch import nn

from facekd.backbones.common import BACKBONES, final_size, in_float32

DEPTHS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
    "iresnet200": (6, 26, 60, 6),
}


class ChannelGate(nn.Module):
    """Squeeze-and-excitation (arXiv 1709.01507, section 3): channels times a gate from their means.

    Two 1x1 convolutions without bias, ReLU between them and a sigmoid after.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, channels // reduction, 1, bias=False)
        self.fc2 = nn.Conv2d(channels // reduction, channels, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) -> the same shape."""
        means = x.mean(dim=(2, 3), keepdim=True)
        gate: torch.Tensor = self.fc2(self.fc1(means).relu()).sigmoid()
        return x * gate


class Block(nn.Module):
    """Batch norm, 3x3, batch norm, PReLU, 3x3 (with the stride), batch norm; plus the input.

    Args:
        inputs: Channels that come in.
        outputs: Channels that go out.
        stride: 1 or 2.
        eps: Of the batch norms.
        se: Whether a `ChannelGate` ends the branch.
        subsample: Whether a shortcut between equal widths takes every second pixel, instead of a
            1x1 convolution and a batch norm.
    """

    def __init__(
        self, inputs: int, outputs: int, stride: int, eps: float, se: bool, subsample: bool
    ) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs, eps)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, eps)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs, eps)
        self.se_block = ChannelGate(outputs) if se else None
        self.downsample: nn.Module | None = None
        if stride != 1 and inputs == outputs and subsample:
            self.downsample = nn.MaxPool2d(1, stride)
        elif stride != 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs, eps))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h / stride, w / stride)."""
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        y = self.bn3(self.conv2(y))
        if self.se_block is not None:
            y = self.se_block(y)
        shortcut: torch.Tensor = x if self.downsample is None else self.downsample(x)
        return shortcut.add(y)


class IResNet(nn.Module):
    """The family's network; the names of its weights are those of insightface's arcface_torch.

    The last batch norm has its scale fixed at 1.

    Args:
        blocks: Blocks in each of the four stages.
        embedding_dim: Width of the output.
        input_size: Side of the input, a multiple of 16 pixels; the linear layer follows it.
        bn_eps: Added to the variance in every batch norm.
        affine: Whether the last batch norm has a scale (fixed at 1) and a trained shift.
        se: Squeeze-and-excitation in every block.
        subsample: AdaFace's first shortcut, see `Block`.

    Raises:
        FacekdError: A size that does not fit.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        embedding_dim: int = 512,
        input_size: int = 112,
        *,
        bn_eps: float = 1e-5,
        affine: bool = True,
        se: bool = False,
        subsample: bool = False,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64, bn_eps)
        self.prelu = nn.PReLU(64)
        self.layer1 = _stage(64, 64, blocks[0], bn_eps, se, subsample)
        self.layer2 = _stage(64, 128, blocks[1], bn_eps, se, subsample)
        self.layer3 = _stage(128, 256, blocks[2], bn_eps, se, subsample)
        self.layer4 = _stage(256, 512, blocks[3], bn_eps, se, subsample)
        self.bn2 = nn.BatchNorm2d(512, bn_eps)
        self.fc = nn.Linear(512 * final_size(input_size) ** 2, embedding_dim)
        self.features = nn.BatchNorm1d(embedding_dim, bn_eps, affine=affine)
        if affine:
            self.features.weight.requires_grad_(False)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, 0, 0.1)

    def stage_ends(self) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
        """See `facekd.backbones.taps.Staged`."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised float32 (n, 3, s, s) -> (n, embedding_dim); the tail is always float32."""
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return in_float32(self._embed, self.bn2(x).flatten(1))

    def _embed(self, x: torch.Tensor) -> torch.Tensor:
        return self.features(self.fc(x))  # type: ignore[no-any-return]


def _stage(
    inputs: int, outputs: int, blocks: int, eps: float, se: bool, subsample: bool
) -> nn.Sequential:
    strides = [(inputs, 2)] + [(outputs, 1)] * (blocks - 1)
    return nn.Sequential(*(Block(n, outputs, stride, eps, se, subsample) for n, stride in strides))


def _register(name: str) -> None:
    @BACKBONES.register(name, name.replace("iresnet", "r"))
    def build(
        embedding_dim: int = 512,
        input_size: int = 112,
        bn_eps: float = 1e-5,
        affine: bool = True,
        se: bool = False,
        subsample: bool = False,
    ) -> nn.Module:
        return IResNet(
            DEPTHS[name],
            embedding_dim,
            input_size,
            bn_eps=bn_eps,
            affine=affine,
            se=se,
            subsample=subsample,
        )


for _name in DEPTHS:
    _register(_name)
