"""A running mean of the network's weights, which is validated and saved in their place."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from facekd.model import FaceModel


def start_mean(network: nn.Module) -> dict[str, Tensor]:
    """The mean before the first step: a copy of every weight and buffer, by name."""
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


@torch.no_grad()
def update_mean(mean: Mapping[str, Tensor], network: nn.Module, decay: float, updates: int) -> None:
    """M <- d m + (1 - d) w, with d = min(decay, (1 + t) / (10 + t)) after t updates.

    The smaller d of the first updates lets the mean leave the random first weights (as in
    TensorFlow's ExponentialMovingAverage with `num_updates`). Batch norm's statistics are averaged
    alike, counts are copied.

    Args:
        mean: What `start_mean` gave; it is changed.
        network: The network after a step.
        decay: The largest d, in [0, 1).
        updates: t.
    """
    d = min(decay, (1 + updates) / (10 + updates))
    now = network.state_dict()
    averaged = [name for name in mean if mean[name].is_floating_point()]
    torch._foreach_lerp_([mean[n] for n in averaged], [now[n] for n in averaged], 1 - d)
    for name in mean.keys() - set(averaged):
        mean[name].copy_(now[name])


def with_mean(network: FaceModel, mean: Mapping[str, Tensor] | None) -> FaceModel:
    """A copy of the network with the mean as its weights; without one, the network itself."""
    if mean is None:
        return network
    averaged = copy.deepcopy(network)
    averaged.load_state_dict(dict(mean))
    return averaged
