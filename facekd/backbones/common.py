"""What the backbones share: the table of names, a float32 tail, and how large a network is."""

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from facekd.errors import FacekdError
from facekd.registry import Registry

STRIDE = 16  # every face network here halves its input four times

USUAL_WIDTH, USUAL_SIZE = 512, 112

BACKBONES: Registry[Callable[..., nn.Module]] = Registry("backbone")
"""Builders. One without an `embedding_dim` argument makes a network that has a width of its own,
which the network tells as `embedding_dim`; the default of `input_size` is its usual input."""


def own_width(network: nn.Module) -> int | None:
    """Width of a network that has one of its own; None where the builder was told."""
    width = getattr(network, "embedding_dim", None)
    return width if isinstance(width, int) else None


def final_size(input_size: int) -> int:
    """Side of the last feature map: 112 -> 7, 64 -> 4.

    Raises:
        FacekdError: The input is not a positive multiple of 16.
    """
    if input_size < STRIDE or input_size % STRIDE:
        raise FacekdError(f"input_size {input_size} is not a multiple of {STRIDE} pixels.")
    return input_size // STRIDE


def check_least(input_size: int, least: int) -> None:
    """Refuse an input that nothing would be left of.

    Raises:
        FacekdError: It is.
    """
    if input_size < least:
        raise FacekdError(f"input_size {input_size} is below {least} pixels.")


def average(x: torch.Tensor) -> torch.Tensor:
    """Mean over the last feature map, in float32: (n, c, h, w) -> (n, c)."""
    return x.float().mean((2, 3))


def draw_by_outputs(network: nn.Module) -> None:
    """Convolutions drawn from N(0, 2 / (k k outputs)), biases 0 (He et al., arXiv 1502.01852)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def in_float32(tail: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Run the last layers in float32, whatever autocast does to the ones before."""
    with torch.autocast(x.device.type, enabled=False):
        return tail(x.float())


_counted: dict[tuple[str, int], tuple[int, int]] = {}


def count(model: nn.Module, input_size: int) -> tuple[int, int]:
    """Size and cost of a network; networks of one structure are counted once.

    Args:
        model: A backbone: float32 (n, 3, s, s) -> (n, d).
        input_size: s, pixels.

    Returns:
        Number of parameters (weights, batch-norm affine, PReLU slopes), and multiply-accumulates
        of convolutions and linear layers for one image.
    """
    structure = repr(model), input_size
    if structure not in _counted:
        _counted[structure] = _count(model, input_size)
    return _counted[structure]


def _count(model: nn.Module, input_size: int) -> tuple[int, int]:
    params = sum(p.numel() for p in model.parameters())
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, input_size, input_size, device=device))
    model.train(training)
    return params, counter.get_total_flops() // 2
