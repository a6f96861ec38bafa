"""The networks, by name."""

import functools
import inspect
from typing import Any

import torch
from torch import nn

from facekd.backbones import (  # noqa: F401  (they enter their names)
    cifar_mobilenet,
    cifar_resnet,
    cifar_resnet50,
    cifar_shufflenet,
    cifar_vgg,
    cifar_wrn,
    iresnet,
    mobilefacenet,
)
from facekd.backbones.common import BACKBONES, USUAL_SIZE, USUAL_WIDTH, count, own_width
from facekd.backbones.torchvision_networks import PREFIX, builder_of
from facekd.errors import FacekdError, did_you_mean

BACKBONES.delegate(PREFIX, builder_of)

__all__ = [
    "BACKBONES",
    "USUAL_WIDTH",
    "count",
    "create_backbone",
    "own_width",
    "usual_size",
    "usual_width",
]


def usual_size(name: str) -> int:
    """Side of a network's input where none is asked for, pixels."""
    default = inspect.signature(BACKBONES[name]).parameters["input_size"].default
    return default if isinstance(default, int) else USUAL_SIZE


def usual_width(name: str) -> int:
    """Width of a network's output where none is asked for."""
    free = "embedding_dim" in inspect.signature(BACKBONES[name]).parameters
    return USUAL_WIDTH if free else _width_of_its_own(name)


@functools.cache
def _width_of_its_own(name: str) -> int:
    with torch.device("meta"):
        width = own_width(BACKBONES[name]())
    assert width is not None
    return width


def create_backbone(
    name: str, embedding_dim: int | None = None, *, input_size: int | None = None, **kwargs: Any
) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: A name or alias in `BACKBONES`.
        embedding_dim: Width of the output; None: 512, or the network's own.
        input_size: Side of the square input, for face networks a multiple of 16 pixels; None: 112,
            or the network's usual one.
        **kwargs: What the network takes besides (`width`, `bn_eps`, `affine`).

    Returns:
        A module: normalised float32 (n, 3, input_size, input_size) -> (n, embedding_dim).

    Raises:
        FacekdError: No such network, an argument it does not have, a value that does not fit, or
            a width that is not the network's own.
    """
    build = BACKBONES[name]
    known = inspect.signature(build).parameters
    for key in kwargs:
        if key not in known:
            hint = did_you_mean(key, known)
            raise FacekdError(f"backbone {name!r} has no argument {key!r}; {hint}")
    if embedding_dim is not None and embedding_dim < 1:
        raise FacekdError(f"embedding_dim {embedding_dim} is not a width: give at least 1.")
    if not 0 < kwargs.get("bn_eps", 1e-5) < 1:
        raise FacekdError(f"bn_eps {kwargs['bn_eps']} is not between 0 and 1; 1e-5 is usual.")
    size = usual_size(name) if input_size is None else input_size
    if "embedding_dim" in known:
        return build(embedding_dim=embedding_dim or USUAL_WIDTH, input_size=size, **kwargs)
    network = build(input_size=size, **kwargs)
    if embedding_dim not in (None, own_width(network)):
        raise FacekdError(
            f"backbone {name!r} has a width of its own, {own_width(network)}, and embedding_dim "
            f"says {embedding_dim}; leave embedding_dim out."
        )
    return network
