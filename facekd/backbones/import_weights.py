"""Other software's weights: which of our networks they belong to, and under which names."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facekd.backbones.common import STRIDE
from facekd.backbones.iresnet import DEPTHS
from facekd.backbones.mobilefacenet import BLOCKS, LARGE_BLOCKS
from facekd.backbones.mxnet import MXNET_RANGE, mobilefacenet_state
from facekd.errors import FacekdError

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Weights:
    """A network recognised in a file.

    Attributes:
        name: Our backbone's name; `embedding_dim`, `input_size`, `kwargs` are its arguments.
        state: Its state_dict, float32, under our names.
        input_range: What pixel values 0 and 255 become in the software it comes from.
        source: That software's name.
    """

    name: str
    embedding_dim: int
    input_size: int
    state: State
    kwargs: dict[str, Any] = field(default_factory=dict)
    input_range: tuple[float, float] = (-1.0, 1.0)
    source: str = "arcface_torch"


def read_weights(path: Path, content: object) -> Weights:
    """Recognise the network in a file.

    Args:
        path: An MXNet .params file, a .safetensors file, or the torch file of `content`.
        content: What the torch file holds: a state_dict, or a dict with one under
            "state_dict_backbone" or "state_dict".

    Raises:
        FacekdError: The file cannot be read, or the network is not one of ours.
    """
    if path.suffix.lower() == ".params":
        state, kwargs = mobilefacenet_state(path)
        found = recognize(state, str(path))
        kwargs = found.kwargs | kwargs
        return replace(found, kwargs=kwargs, input_range=MXNET_RANGE, source="mxnet")
    if path.suffix.lower() == ".safetensors":
        content = _read_safetensors(path)
    return recognize(_state_of(content, path), str(path))


def recognize(state: State, where: str) -> Weights:
    """Find the network an arcface_torch state_dict belongs to, from its keys and shapes.

    Raises:
        FacekdError: None fits; the message says what each family lacks and what there is.
    """
    reasons = []
    for family, find in (("mobilefacenet", _mobilefacenet), ("iresnet", _iresnet)):
        try:
            return find(state)
        except _UnlikeError as error:
            reasons.append(f"{family} ({error})")
    some = ", ".join(f"{key} {tuple(value.shape)}" for key, value in list(state.items())[:3])
    raise FacekdError(
        f"{where} is no network known here: tried arcface_torch's {' and '.join(reasons)}; its "
        f"weights begin with {some}."
    )


class _UnlikeError(Exception):
    """Why a state_dict is not of a family."""


def _shape(state: State, key: str, ndim: int) -> torch.Size:
    """The shape of one of the weights that tell a family's members apart."""
    if key not in state:
        raise _UnlikeError(f"which has {key}")
    if state[key].ndim != ndim or 0 in state[key].shape:
        raise _UnlikeError(f"whose {key} has {ndim} dimensions, not {tuple(state[key].shape)}")
    return state[key].shape


def check_state(backbone: nn.Module, state: State) -> None:
    """See that a state_dict fits a network exactly: names, shapes, kinds of numbers.

    Raises:
        FacekdError: It does not; the message names the first differences.
    """
    wanted = backbone.state_dict()
    missing = [key for key in wanted if key not in state]
    unexpected = [key for key in state if key not in wanted]
    if missing or unexpected:
        told = [f"{len(missing)} missing ({', '.join(missing[:3])})"] if missing else []
        told += (
            [f"{len(unexpected)} unexpected ({', '.join(unexpected[:3])})"] if unexpected else []
        )
        raise FacekdError(f"the weights are not this network's: {' and '.join(told)}.")
    for key, tensor in wanted.items():
        value = state[key]
        if not isinstance(value, torch.Tensor):
            raise FacekdError(f"{key} is a {type(value).__name__}, not a tensor.")
        if value.shape != tensor.shape or value.dtype != tensor.dtype:
            raise FacekdError(
                f"{key} is {value.dtype} {tuple(value.shape)}, this network has "
                f"{tensor.dtype} {tuple(tensor.shape)}."
            )


def _state_of(content: object, path: Path) -> State:
    """The bare state_dict: without wrapping dict and prefixes, in float32."""
    for key in ("state_dict_backbone", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise FacekdError(f"{path} holds a {type(content).__name__}, not weights by name.")
    state: State = {}
    for key, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise FacekdError(f"{path}: {key!r} is a {type(value).__name__}, not a tensor.")
        name = re.sub(r"^((module|backbone)\.)+", "", str(key))
        state[name] = value.float() if value.is_floating_point() else value
    return state


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        mapped: State = load_file(path)
        # off the file's unaligned memory map: kernels round by alignment
        return {key: value.clone() for key, value in mapped.items()}
    except (SafetensorError, OSError) as error:
        raise FacekdError(f"{path} is damaged or no safetensors file ({error}).") from error


def _mobilefacenet(state: State) -> Weights:
    channels = _shape(state, "layers.0.layers.0.weight", 4)[0]
    unit = max(1, _shape(state, "conv_sep.layers.0.weight", 4)[0] // 8)
    kernel = _shape(state, "features.layers.0.layers.0.weight", 4)[3]
    embedding_dim = _shape(state, "features.layers.2.weight", 2)[0]
    stages = [_repeats(state, rf"layers\.{i}\.layers\.(\d+)\.layers\.0") for i in (1, 3, 5, 7)]
    blocks = (stages[0] or 1, stages[1], stages[2], stages[3])
    scale = channels // unit
    members = {
        (1, BLOCKS): "mobilefacenet",
        (2, BLOCKS): "mobilefacenet_w2",
        (4, LARGE_BLOCKS): "mobilefacenet_large",
    }
    name = members.get((scale, blocks))
    if name is None:
        raise _UnlikeError(f"none of which has scale {scale} and blocks {blocks}")
    kwargs: dict[str, Any] = {}
    if name == "mobilefacenet":
        kwargs = {"width": unit / 64, "affine": "features.layers.3.weight" in state}
    return Weights(name, embedding_dim, kernel * STRIDE, state, kwargs)


def _iresnet(state: State) -> Weights:
    embedding_dim, inputs = _shape(state, "fc.weight", 2)
    blocks = tuple(_repeats(state, rf"layer{i}\.(\d+)") for i in (1, 2, 3, 4))
    for name, depth in DEPTHS.items():
        if depth == blocks:
            return Weights(name, embedding_dim, round((inputs / 512) ** 0.5) * STRIDE, state)
    raise _UnlikeError(f"none of which has {blocks} blocks")


def _repeats(state: State, pattern: str) -> int:
    """How many different numbers stand in the group of a key's pattern."""
    found = (re.match(pattern + r"\.", key) for key in state)
    return len({match[1] for match in found if match})
