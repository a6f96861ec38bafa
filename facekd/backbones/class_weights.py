"""Weights of classifiers by RepDistiller and torchvision: the backbone, and the last layer apart.

RepDistiller's teachers (`ckpt_epoch_240.pth`), and those HeadSharingKD trains, hold the weights
under "model"; their network is known from the shapes. torchvision's files hold bare weights and do
not say what network they are.
"""

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from facekd.backbones.common import BACKBONES, own_width
from facekd.backbones.torchvision_networks import TorchvisionNetwork
from facekd.errors import FacekdError
from facekd.preprocess import STATISTICS, Three

LAST_LAYERS = ("fc", "linear", "classifier", "classifier.0")
"""What RepDistiller's networks call their classifier."""

Shapes = Mapping[str, torch.Size]


@dataclass(frozen=True)
class ClassWeights:
    """A classifier recognised in a file.

    Attributes:
        name: Our backbone's name.
        state: Its state_dict, float32, under our names.
        weight: Of the last layer, (classes, width).
        bias: Likewise (classes,), or None.
        source: The software it comes from.
    """

    name: str
    state: dict[str, Tensor]
    weight: Tensor
    bias: Tensor | None
    source: str

    @property
    def statistics(self) -> tuple[Three, Three]:
        """Mean and deviation of the input that the software gives its networks."""
        return STATISTICS["cifar100" if self.source == "repdistiller" else "imagenet"]


def class_weights(content: object, name: str | None = None) -> ClassWeights | None:
    """Split a file's weights into backbone and last layer.

    Args:
        content: What the torch file holds.
        name: The backbone, for files that do not say; None: one of RepDistiller's, by its shapes.

    Returns:
        Both; None where no name is given and it is none of RepDistiller's networks.

    Raises:
        FacekdError: The weights are not the named network's, or it has no classifier's.
    """
    state = _state_of(content)
    if name is None and not any(f"{layer}.weight" in state for layer in LAST_LAYERS):
        return None
    if name is None:
        return next(filter(None, (_split(state, one) for one in _small_networks())), None)
    found = _split(state, BACKBONES.canonical(name))
    if found is None:
        raise FacekdError(_unlike(state, name))
    return found


def _split(state: Mapping[str, Tensor], name: str) -> ClassWeights | None:
    shapes, layers, prefix = _expected(name)
    layer = next((layer for layer in layers if f"{layer}.weight" in state), "")
    last = {key: state[key] for key in (f"{layer}.weight", f"{layer}.bias") if key in state}
    rest = {f"{prefix}{key}": value for key, value in state.items() if key not in last}
    if not last or {key: value.shape for key, value in rest.items()} != shapes:
        return None
    source = "torchvision" if prefix else "repdistiller"
    return ClassWeights(name, rest, last[f"{layer}.weight"], last.get(f"{layer}.bias"), source)


@functools.cache
def _expected(name: str) -> tuple[Shapes, tuple[str, ...], str]:
    """Shapes of a backbone's weights, names its last layer may have, what we put before names."""
    with torch.device("meta"):
        network = BACKBONES[name]()
    if own_width(network) is None:
        raise FacekdError(f"{name} is a network of faces; leave --as out.")
    shapes = {key: value.shape for key, value in network.state_dict().items()}
    if isinstance(network, TorchvisionNetwork):
        return shapes, (network.classifier,), "net."
    return shapes, LAST_LAYERS, ""


def _small_networks() -> list[str]:
    """RepDistiller's: the registered networks that have a width of their own."""
    arguments = {name: inspect.signature(BACKBONES[name]).parameters for name in BACKBONES}
    return [name for name, known in arguments.items() if "embedding_dim" not in known]


def _state_of(content: object) -> dict[str, Tensor]:
    """The bare weights, float32; empty where there are none."""
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    found = content.items() if isinstance(content, dict) else ()
    return {
        str(key).removeprefix("module."): value.float() if value.is_floating_point() else value
        for key, value in found
        if isinstance(value, Tensor)
    }


def _unlike(state: Mapping[str, Tensor], name: str) -> str:
    shapes, layers, prefix = _expected(BACKBONES.canonical(name))
    if not state:
        return f"the file holds no weights by name, so none of {name}."
    if not any(f"{layer}.weight" in state for layer in layers):
        return f"the weights hold no classifier of {name} ({' or '.join(layers)}.weight)."
    wanted = [key.removeprefix(prefix) for key in shapes]
    missing = [key for key in wanted if key not in state]
    if missing:
        return f"the weights are not {name}'s: {len(missing)} missing ({', '.join(missing[:3])})."
    other = next((k for k in wanted if state[k].shape != shapes[f"{prefix}{k}"]), None)
    if other is None:
        return f"the weights are not {name}'s: they hold more than it has."
    has, wants = tuple(state[other].shape), tuple(shapes[f"{prefix}{other}"])
    return f"the weights are not {name}'s: {other} is {has}, not {wants}."
