"""MobileFaceNet: the 2018 network, its half-size versions, and insightface's wider relatives.

One network family (arXiv 1804.07573, table 1), at a 112-pixel input:

| layer | output | channels |
|---|---|---|
| 3x3 convolution, stride 2 | 56 | 64 k |
| 3x3 convolution in 64 groups (depthwise where k = 1), or b1 residual bottlenecks | 56 | 64 k |
| bottleneck, stride 2, inner width 128; then b2 residual ones, 128 | 28 | 64 k |
| bottleneck, stride 2, inner width 256; then b3 residual ones, 256 | 14 | 128 k |
| bottleneck, stride 2, inner width 512; then b4 residual ones, 256 | 7 | 128 k |
| 1x1 convolution | 7 | 512 |
| global depthwise convolution (7x7 here: its kernel follows the input size) | 1 | 512 |
| linear, batch norm | - | embedding |

`k` is insightface's scale: it widens the trunk and leaves the inner widths and the tail. `width`
multiplies every number of channels (and of groups) but the embedding:

| name | k | b1-b4 | width | embedding | parameters | MACs |
|---|---|---|---|---|---|---|
| mobilefacenet | 1 | 1-4-6-2 | 1 | 128 | 1.003 M | 0.221 G |
| mobilefacenet | 1 | 1-4-6-2 | 1 | 512 | 1.199 M | 0.221 G |
| mobilefacenet | 1 | 1-2-3-1 | 1 | 512 | 0.884 M | 0.150 G |
| mobilefacenet | 1 | 1-4-6-2 | 0.5 | 128 | 0.288 M | 0.059 G |
| mobilefacenet | 1 | 1-4-6-2 | 0.5 | 512 | 0.387 M | 0.059 G |
| mobilefacenet | 1 | 1-4-6-2 | 0.25 | 128 | 0.091 M | 0.017 G |
| mobilefacenet | 1 | 1-4-6-2 | 0.25 | 512 | 0.140 M | 0.017 G |
| mobilefacenet_w2 (mbf) | 2 | 1-4-6-2 | 1 | 512 | 2.060 M | 0.438 G |
| mobilefacenet_large (mbf_large) | 4 | 2-8-12-4 | 1 | 512 | 6.315 M | 1.816 G |
"""

from collections.abc import Sequence

import torch
from torch import nn

from facekd.backbones.common import BACKBONES, final_size, in_float32
from facekd.errors import FacekdError

BLOCKS = (1, 4, 6, 2)
LARGE_BLOCKS = (2, 8, 12, 4)


class ConvUnit(nn.Module):
    """Convolution without bias, batch norm and, unless `linear`, PReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int = 1,
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        eps: float,
        linear: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
            nn.BatchNorm2d(outputs, eps),
        )
        if not linear:
            self.layers.append(nn.PReLU(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, inputs, h, w) -> (n, outputs, h', w')."""
        return self.layers(x)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """Expand to `inner` channels, 3x3 depthwise, project linearly; add the input if `residual`."""

    def __init__(
        self, inputs: int, outputs: int, inner: int, *, eps: float, residual: bool = False
    ) -> None:
        super().__init__()
        self.residual = residual
        stride = 1 if residual else 2
        self.layers = nn.Sequential(
            ConvUnit(inputs, inner, eps=eps),
            ConvUnit(inner, inner, 3, stride=stride, padding=1, groups=inner, eps=eps),
            ConvUnit(inner, outputs, eps=eps, linear=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same size and channels if residual, else half the size."""
        y: torch.Tensor = self.layers(x)
        return x + y if self.residual else y


class Stage(nn.Module):
    """Residual bottlenecks in a row."""

    def __init__(self, channels: int, inner: int, repeats: int, *, eps: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(Bottleneck(channels, channels, inner, eps=eps, residual=True) for _ in range(repeats))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Same size and channels."""
        return self.layers(x)  # type: ignore[no-any-return]


class EmbeddingTail(nn.Module):
    """Global depthwise convolution, linear layer, batch norm (`affine`: with scale and shift)."""

    def __init__(
        self, channels: int, embedding_dim: int, kernel: int, *, eps: float, affine: bool
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ConvUnit(channels, channels, kernel, groups=channels, eps=eps, linear=True),
            nn.Flatten(),
            nn.Linear(channels, embedding_dim, bias=False),
            nn.BatchNorm1d(embedding_dim, eps, affine=affine),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, kernel, kernel) -> (n, embedding_dim)."""
        return self.layers(x)  # type: ignore[no-any-return]


class MobileFaceNet(nn.Module):
    """The family's network; see the module's tables.

    The names of its weights are those of insightface's arcface_torch.

    Args:
        embedding_dim: Width of the output.
        input_size: Side of the input, a multiple of 16 pixels.
        blocks: b1-b4, residual bottlenecks by resolution; a first 1 means the grouped convolution.
        scale: k, multiplies the trunk's channels.
        width: Multiplies every channel count but the embedding; 64 * width must be whole.
        bn_eps: Added to the variance in every batch norm.
        affine: Whether the last batch norm has a trained scale and shift.

    Raises:
        FacekdError: A size that does not fit.
    """

    def __init__(
        self,
        embedding_dim: int = 512,
        input_size: int = 112,
        *,
        blocks: Sequence[int] = BLOCKS,
        scale: int = 1,
        width: float = 1.0,
        bn_eps: float = 1e-5,
        affine: bool = True,
    ) -> None:
        super().__init__()
        counts = list(blocks) if isinstance(blocks, list | tuple) else []
        if len(counts) != 4 or not all(isinstance(b, int) and b >= 1 for b in counts):
            raise FacekdError(
                f"blocks {blocks!r} is not possible: give four whole numbers of at least 1; "
                "[1, 4, 6, 2] is the paper's network, [1, 2, 3, 1] one of half its depth."
            )
        if not 8 <= 64 * width <= 1024 or not float(64 * width).is_integer():
            raise FacekdError(
                f"width {width} is not possible: 64 * width is the number of channels of the first "
                "layer and must be a whole number of at least 8; use 1, 0.5 or 0.25."
            )
        unit = int(64 * width)
        trunk, eps = unit * scale, bn_eps
        inner = 2 * unit  # the narrowest bottlenecks' inner width: 128 in the paper's table
        first: nn.Module = Stage(trunk, inner, blocks[0], eps=eps)
        if blocks[0] == 1:
            first = ConvUnit(trunk, trunk, 3, padding=1, groups=unit, eps=eps)
        self.layers = nn.ModuleList(
            [
                ConvUnit(3, trunk, 3, stride=2, padding=1, eps=eps),
                first,
                Bottleneck(trunk, trunk, inner, eps=eps),
                Stage(trunk, inner, blocks[1], eps=eps),
                Bottleneck(trunk, 2 * trunk, 2 * inner, eps=eps),
                Stage(2 * trunk, 2 * inner, blocks[2], eps=eps),
                Bottleneck(2 * trunk, 2 * trunk, 4 * inner, eps=eps),
                Stage(2 * trunk, 2 * inner, blocks[3], eps=eps),
            ]
        )
        self.conv_sep = ConvUnit(2 * trunk, 8 * unit, eps=eps)
        kernel = final_size(input_size)
        self.features = EmbeddingTail(8 * unit, embedding_dim, kernel, eps=eps, affine=affine)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def stage_ends(self) -> tuple[nn.Module, nn.Module, nn.Module, nn.Module]:
        """See `facekd.backbones.taps.Staged`."""
        return self.layers[1], self.layers[3], self.layers[5], self.layers[7]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised float32 (n, 3, s, s) -> (n, embedding_dim); the tail is always float32."""
        for layer in self.layers:
            x = layer(x)
        return in_float32(self.features, self.conv_sep(x))


@BACKBONES.register("mobilefacenet")
def mobilefacenet(
    embedding_dim: int = 512,
    input_size: int = 112,
    width: float = 1.0,
    blocks: Sequence[int] = BLOCKS,
    bn_eps: float = 1e-5,
    affine: bool = False,
) -> nn.Module:
    """The network of the 2018 paper, or a `width` of it, or one with other `blocks`.

    Its last batch norm has no scale and shift (`affine`), as in the versions that later papers
    distil into; imported weights that have them set it.
    """
    return MobileFaceNet(
        embedding_dim, input_size, blocks=blocks, width=width, bn_eps=bn_eps, affine=affine
    )


@BACKBONES.register("mobilefacenet_w2", "mbf")
def mobilefacenet_w2(
    embedding_dim: int = 512, input_size: int = 112, bn_eps: float = 1e-5
) -> nn.Module:
    """Insightface's `mbf`: the trunk twice as wide."""
    return MobileFaceNet(embedding_dim, input_size, scale=2, bn_eps=bn_eps)


@BACKBONES.register("mobilefacenet_large", "mbf_large")
def mobilefacenet_large(
    embedding_dim: int = 512, input_size: int = 112, bn_eps: float = 1e-5
) -> nn.Module:
    """Insightface's `mbf_large`: the trunk four times as wide and twice as deep."""
    return MobileFaceNet(embedding_dim, input_size, blocks=LARGE_BLOCKS, scale=4, bn_eps=bn_eps)
