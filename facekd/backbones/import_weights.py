"""Other software's weights: which of our networks they belong to, and under which names."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from facekd.backbones.common import STRIDE
from facekd.backbones.iresnet import DEPTHS
from facekd.backbones.mobilefacenet import BLOCKS, LARGE_BLOCKS
from facekd.backbones.mxnet_params import read_params
from facekd.errors import FacekdError

State = dict[str, torch.Tensor]

# MXNet's insightface networks: eps of the last batch norm, of all others, and (x - 127.5) / 128
MXNET_LAST_EPS, MXNET_EPS = 2e-5, 1e-3
MXNET_RANGE = (-127.5 / 128, 127.5 / 128)


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
    if path.suffix == ".params":
        return _from_mxnet(path)
    if path.suffix == ".safetensors":
        content = _read_safetensors(path)
    return recognize(_state_of(content, path), str(path))


def recognize(state: State, where: str) -> Weights:
    """Find the network an arcface_torch state_dict belongs to, from its keys and shapes.

    Raises:
        FacekdError: None fits; the message names the families tried and the first keys.
    """
    for family in (_mobilefacenet, _iresnet):
        try:
            weights = family(state)
        except (KeyError, IndexError, ZeroDivisionError):
            continue
        if weights is not None:
            return weights
    some = ", ".join(f"{key} {tuple(value.shape)}" for key, value in list(state.items())[:3])
    raise FacekdError(
        f"{where} is no network known here: tried arcface_torch's mobilefacenet (mbf, mbf_large) "
        f"and iresnet (r18, r34, r50, r100, r200), its weights begin with {some}."
    )


def check_state(backbone: nn.Module, state: State, where: str) -> None:
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
        raise FacekdError(f"{where}: its weights are not this network's: {' and '.join(told)}.")
    for key, tensor in wanted.items():
        value = state[key]
        if not isinstance(value, torch.Tensor):
            raise FacekdError(f"{where}: {key} is a {type(value).__name__}, not a tensor.")
        if value.shape != tensor.shape or value.dtype != tensor.dtype:
            raise FacekdError(
                f"{where}: {key} is {value.dtype} {tuple(value.shape)}, this network has "
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
        return load_file(path)  # type: ignore[no-any-return]
    except (SafetensorError, OSError) as error:
        raise FacekdError(f"{path} is damaged or no safetensors file ({error}).") from error


def _mobilefacenet(state: State) -> Weights | None:
    channels = state["layers.0.layers.0.weight"].shape[0]
    unit = state["conv_sep.layers.0.weight"].shape[0] // 8
    stages = [_repeats(state, rf"layers\.{i}\.layers\.(\d+)\.layers\.0") for i in (1, 3, 5, 7)]
    blocks = (stages[0] or 1, *stages[1:])
    scale = channels // unit
    names = {
        (1, BLOCKS): "mobilefacenet",
        (2, BLOCKS): "mobilefacenet_w2",
        (4, LARGE_BLOCKS): "mobilefacenet_large",
    }
    name = names.get((scale, blocks))
    if name is None:
        return None
    kwargs: dict[str, Any] = {}
    if name == "mobilefacenet":
        kwargs = {"width": unit / 64, "affine": "features.layers.3.weight" in state}
    return Weights(
        name,
        embedding_dim=state["features.layers.2.weight"].shape[0],
        input_size=state["features.layers.0.layers.0.weight"].shape[-1] * STRIDE,
        state=state,
        kwargs=kwargs,
    )


def _iresnet(state: State) -> Weights | None:
    blocks = tuple(_repeats(state, rf"layer{i}\.(\d+)") for i in (1, 2, 3, 4))
    fc = state["fc.weight"]
    for name, depth in DEPTHS.items():
        if depth == blocks:
            side = round((fc.shape[1] / 512) ** 0.5)
            return Weights(name, fc.shape[0], side * STRIDE, state)
    return None


def _repeats(state: State, pattern: str) -> int:
    """How many different numbers stand in the group of a key's pattern."""
    found = (re.match(pattern + r"\.", key) for key in state)
    return len({match[1] for match in found if match})


def _from_mxnet(path: Path) -> Weights:
    """Insightface's MXNet MobileFaceNet (fmobilefacenet.py), under our names.

    Its linear layer has a bias, which the batch norm behind it takes into its mean; that batch
    norm's own eps differs from the others', which goes into its scale (1 in the file).
    """
    arrays = {name: torch.from_numpy(array) for name, array in read_params(path).items()}
    state: State = {}
    for name, tensor in arrays.items():
        ours = _mxnet_name(name)
        if ours is not None:
            state[ours] = tensor
            if ours.endswith("running_var"):
                steps = ours.replace("running_var", "num_batches_tracked")
                state[steps] = torch.tensor(0)
    last = "features.layers.3."
    try:
        bias, variance = arrays["arg:pre_fc1_bias"], arrays["aux:fc1_moving_var"]
        state[last + "running_mean"] = state[last + "running_mean"] - bias
    except (KeyError, RuntimeError) as error:
        raise FacekdError(
            f"{path} is not insightface's MXNet MobileFaceNet, the only network read from .params "
            f"files: its arrays begin with {', '.join(list(arrays)[:3])}."
        ) from error
    state[last + "weight"] = ((variance + MXNET_EPS) / (variance + MXNET_LAST_EPS)).sqrt()
    found = recognize(state, str(path))
    kwargs = found.kwargs | {"bn_eps": MXNET_EPS}
    return Weights(
        found.name, found.embedding_dim, found.input_size, state, kwargs, MXNET_RANGE, "mxnet"
    )


_MXNET_UNITS: list[tuple[str, Callable[[re.Match[str]], str]]] = [
    (r"conv_1", lambda m: "layers.0"),
    (r"conv_2_dw", lambda m: "layers.1"),
    (r"dconv_(\d)\d_conv_(sep|dw|proj)", lambda m: f"layers.{2 * int(m[1]) - 2}.{_PART[m[2]]}"),
    (
        r"res_(\d)_block(\d+)_conv_(sep|dw|proj)",
        lambda m: f"layers.{2 * int(m[1]) - 3}.layers.{m[2]}.{_PART[m[3]]}",
    ),
    (r"conv_6sep", lambda m: "conv_sep"),
    (r"conv_6dw\d+_\d+", lambda m: "features.layers.0"),
]
_PART = {"sep": "layers.0", "dw": "layers.1", "proj": "layers.2"}
_MXNET_LEAF = {
    "conv2d_weight": "layers.0.weight",
    "batchnorm_gamma": "layers.1.weight",
    "batchnorm_beta": "layers.1.bias",
    "batchnorm_moving_mean": "layers.1.running_mean",
    "batchnorm_moving_var": "layers.1.running_var",
    "relu_gamma": "layers.2.weight",
}
_MXNET_LAST = {
    "arg:fc1_weight": "features.layers.2.weight",
    "arg:fc1_beta": "features.layers.3.bias",
    "aux:fc1_moving_mean": "features.layers.3.running_mean",
    "aux:fc1_moving_var": "features.layers.3.running_var",
}


def _mxnet_name(name: str) -> str | None:
    """Our name of an MXNet array; None for what has no place of its own here."""
    if name in _MXNET_LAST:
        return _MXNET_LAST[name]
    for pattern, unit in _MXNET_UNITS:
        match = re.fullmatch(rf"(?:arg|aux):{pattern}_({'|'.join(_MXNET_LEAF)})", name)
        if match:
            return f"{unit(match)}.{_MXNET_LEAF[match[match.lastindex or 0]]}"
    return None
