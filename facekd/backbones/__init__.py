"""The networks, by name."""

import inspect
from typing import Any

from torch import nn

from facekd.backbones import iresnet, mobilefacenet  # noqa: F401  (they enter their names)
from facekd.backbones.common import BACKBONES, count
from facekd.errors import FacekdError, did_you_mean

__all__ = ["BACKBONES", "count", "create_backbone"]


def create_backbone(
    name: str, embedding_dim: int = 512, *, input_size: int = 112, **kwargs: Any
) -> nn.Module:
    """Build a network with fresh weights.

    Args:
        name: A name or alias in `BACKBONES`.
        embedding_dim: Width of the output.
        input_size: Side of the square input, a multiple of 16 pixels.
        **kwargs: What the network takes besides (`width`, `bn_eps`, `affine`).

    Returns:
        A module: normalised float32 (n, 3, input_size, input_size) -> (n, embedding_dim).

    Raises:
        FacekdError: No such network, an argument it does not have, or a value that does not fit.
    """
    build = BACKBONES[name]
    known = inspect.signature(build).parameters
    for key in kwargs:
        if key not in known:
            hint = did_you_mean(key, known)
            raise FacekdError(f"backbone {name!r} has no argument {key!r}; {hint}")
    if embedding_dim < 1:
        raise FacekdError(f"embedding_dim {embedding_dim} is not a width: give at least 1.")
    if not 0 < kwargs.get("bn_eps", 1e-5) < 1:
        raise FacekdError(f"bn_eps {kwargs['bn_eps']} is not between 0 and 1; 1e-5 is usual.")
    return build(embedding_dim=embedding_dim, input_size=input_size, **kwargs)
