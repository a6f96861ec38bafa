"""Other software's weights: which of our networks they belong to, and under which names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facekd.backbones.common import STRIDE
from facekd.backbones.families import FAMILIES, MXNET_FAMILIES, Family, Names, State, UnlikeError
from facekd.backbones.iresnet import DEPTHS
from facekd.backbones.mobilefacenet import BLOCKS, LARGE_BLOCKS
from facekd.backbones.mxnet import read_mxnet
from facekd.errors import FacekdError

_LONGEST = 128  # blocks of a stage that are looked for
_WRAPPERS = ("backbone", "model", "net")
_HEADS = ("head.", "classifier.", "fc7")  # what stands beside the network in a training state
_MOBILEFACENETS = {  # by scale and blocks
    (1, BLOCKS): "mobilefacenet",
    (2, BLOCKS): "mobilefacenet_w2",
    (4, LARGE_BLOCKS): "mobilefacenet_large",
}


@dataclass(frozen=True)
class Weights:
    """A network recognised in a file.

    Attributes:
        family: Whose it is; its input comes from there.
        name: Our backbone's name; `embedding_dim`, `input_size`, `kwargs` are its arguments.
        state: Its state_dict, float32, under their names.
        names: Our name of a weight to theirs.
    """

    family: Family
    name: str
    embedding_dim: int
    input_size: int
    state: State
    names: Names
    kwargs: dict[str, Any] = field(default_factory=dict)


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
        return _recognize(read_mxnet(path), MXNET_FAMILIES, None, path)
    if path.suffix.lower() == ".safetensors":
        content = _read_safetensors(path)
    state, wrapper = _state_of(content, path)
    return _recognize(state, FAMILIES, wrapper, path)


def fitted(
    backbone: nn.Module, state: Mapping[str, torch.Tensor], names: Names = str
) -> dict[str, torch.Tensor]:
    """A state_dict under our names, once it fits a network exactly: names, shapes, numbers' kinds.

    Args:
        backbone: The network.
        state: The weights.
        names: Our name of a weight to the one it has in `state`.

    Raises:
        FacekdError: It does not fit; the message names the first differences, as `state` does.
    """
    wanted = backbone.state_dict()
    theirs = {key: names(key) for key in wanted}
    missing = [name for name in theirs.values() if name not in state]
    unexpected = sorted(state.keys() - set(theirs.values()), key=list(state).index)
    if missing or unexpected:
        told = [f"{len(missing)} missing ({', '.join(missing[:3])})"] if missing else []
        told += (
            [f"{len(unexpected)} unexpected ({', '.join(unexpected[:3])})"] if unexpected else []
        )
        raise FacekdError(f"the weights are not this network's: {' and '.join(told)}.")
    for key, tensor in wanted.items():
        value = state[theirs[key]]
        if not isinstance(value, torch.Tensor):
            raise FacekdError(f"{theirs[key]} is a {type(value).__name__}, not a tensor.")
        if value.shape != tensor.shape or value.dtype != tensor.dtype:
            raise FacekdError(
                f"{theirs[key]} is {value.dtype} {tuple(value.shape)}, this network has "
                f"{tensor.dtype} {tuple(tensor.shape)}."
            )
    return {key: state[name] for key, name in theirs.items()}


def _recognize(
    state: State, families: Sequence[Family], wrapper: str | None, path: Path
) -> Weights:
    """Find the family and the network that weights belong to, from their names and shapes.

    Raises:
        FacekdError: None fits; the message says what each family has that is missing here.
    """
    reasons = []
    for family in families:
        for key, why in family.refused.items():
            if key in state:
                raise FacekdError(f"{path} holds {family.name}'s {family.network}, but {why}.")
        if family.wrapper not in (None, wrapper):
            continue
        find = _mobilefacenet if family.network == "mobilefacenet" else _iresnet
        try:
            names = family.names(state)
            name, embedding_dim, input_size, kwargs = find(state, names)
        except UnlikeError as error:
            reasons.append(f"{family.name} {family.network} ({error})")
            continue
        kwargs |= family.kwargs
        return Weights(family, name, embedding_dim, input_size, state, names, kwargs)
    some = ", ".join(f"{key} {tuple(value.shape)}" for key, value in list(state.items())[:3])
    raise FacekdError(
        f"{path} is no network known here: tried {', '.join(reasons[:-1])} and {reasons[-1]}; its "
        f"weights begin with {some or 'nothing'}."
    )


def _shape(state: State, key: str, ndim: int) -> torch.Size:
    """The shape of one of the weights that tell a family's members apart."""
    if key not in state:
        raise UnlikeError(f"which has {key}")
    if state[key].ndim != ndim or 0 in state[key].shape:
        raise UnlikeError(f"whose {key} has {ndim} dimensions, not {tuple(state[key].shape)}")
    return state[key].shape


_Found = tuple[str, int, int, dict[str, Any]]
"""Our name of a network, embedding_dim, input_size, and further arguments."""


def _mobilefacenet(state: State, names: Names) -> _Found:
    channels = _shape(state, names("layers.0.layers.0.weight"), 4)[0]
    unit = max(1, _shape(state, names("conv_sep.layers.0.weight"), 4)[0] // 8)
    kernel = _shape(state, names("features.layers.0.layers.0.weight"), 4)[3]
    embedding_dim = _shape(state, names("features.layers.2.weight"), 2)[0]
    stages = [
        _repeats(state, (names(f"layers.{i}.layers.{n}.layers.0.layers.0.weight") for n in _upto()))
        for i in (1, 3, 5, 7)
    ]
    blocks = (stages[0] or 1, stages[1], stages[2], stages[3])
    scale = channels // unit
    name = _MOBILEFACENETS.get((scale, blocks))
    if name is None:
        raise UnlikeError(f"none of which has scale {scale} and blocks {blocks}")
    kwargs: dict[str, Any] = {}
    if name == "mobilefacenet":
        kwargs = {"width": unit / 64, "affine": names("features.layers.3.weight") in state}
    return name, embedding_dim, kernel * STRIDE, kwargs


def _iresnet(state: State, names: Names) -> _Found:
    _shape(state, names("conv1.weight"), 4)
    embedding_dim, inputs = _shape(state, names("fc.weight"), 2)
    blocks = tuple(
        _repeats(state, (names(f"layer{i}.{n}.conv1.weight") for n in _upto())) for i in range(1, 5)
    )
    kwargs: dict[str, Any] = {}
    if names("features.weight") not in state:
        kwargs["affine"] = False
    if names("layer1.0.se_block.fc1.weight") in state:
        kwargs["se"] = True
    for name, depth in DEPTHS.items():
        if depth == blocks:
            return name, embedding_dim, round((inputs / 512) ** 0.5) * STRIDE, kwargs
    raise UnlikeError(f"none of which has {blocks} blocks")


def _upto() -> range:
    return range(_LONGEST)


def _repeats(state: State, names: Iterable[str]) -> int:
    """How far a stage's blocks are numbered, by the name of one weight of each."""
    return max((i + 1 for i, name in enumerate(names) if name in state), default=0)


def _state_of(content: object, path: Path) -> tuple[dict[str, torch.Tensor], str | None]:
    """The bare state_dict in float32, without wrapping dict and prefixes; and the inner prefix."""
    for key in ("state_dict_backbone", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise FacekdError(f"{path} holds a {type(content).__name__}, not weights by name.")
    found: dict[str, torch.Tensor] = {}
    for key, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise FacekdError(f"{path}: {key!r} is a {type(value).__name__}, not a tensor.")
        name = re.sub(r"^(module\.)+", "", str(key))
        found[name] = value.float() if value.is_floating_point() else value
    state, wrapper = _unwrapped(found)
    for key in list(state):
        if key.endswith(".running_var"):  # networks saved by the first versions of PyTorch
            state.setdefault(key.replace("running_var", "num_batches_tracked"), torch.tensor(0))
    return state, wrapper


def _unwrapped(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], str | None]:
    """Without the name that a training program gave to the network, and without its head."""
    for wrapper in _WRAPPERS:
        if any(key.startswith(f"{wrapper}.") for key in state):
            outer = re.compile(rf"^{wrapper}\.(module\.)*")
            kept = (key for key in state if not key.startswith(_HEADS))
            return {outer.sub("", key): state[key] for key in kept}, wrapper
    return state, None


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        mapped: dict[str, torch.Tensor] = load_file(path)
        # off the file's unaligned memory map: kernels round by alignment
        return {key: value.clone() for key, value in mapped.items()}
    except (SafetensorError, OSError) as error:
        raise FacekdError(f"{path} is damaged or no safetensors file ({error}).") from error
