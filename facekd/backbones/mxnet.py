"""insightface's MXNet MobileFaceNet, under the names and in the form of ours."""

import re
from pathlib import Path

import torch

from facekd.backbones.mxnet_params import read_params
from facekd.errors import FacekdError

# Its batch norms' eps, the last one's, and its own normalisation of 0..255: (x - 127.5) / 128
EPS, LAST_EPS = 1e-3, 2e-5
MXNET_RANGE = (-127.5 / 128, 127.5 / 128)

PART = {"sep": "layers.0", "dw": "layers.1", "proj": "layers.2"}
LEAF = {
    "conv2d_weight": "layers.0.weight",
    "batchnorm_gamma": "layers.1.weight",
    "batchnorm_beta": "layers.1.bias",
    "batchnorm_moving_mean": "layers.1.running_mean",
    "batchnorm_moving_var": "layers.1.running_var",
    "relu_gamma": "layers.2.weight",
}
LAST = {
    "fc1_weight": "features.layers.2.weight",
    "pre_fc1_weight": "features.layers.2.weight",
    "fc1_gamma": "features.layers.3.weight",
    "fc1_beta": "features.layers.3.bias",
    "fc1_moving_mean": "features.layers.3.running_mean",
    "fc1_moving_var": "features.layers.3.running_var",
}


def mobilefacenet_state(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """Read a .params file as a state_dict of `mobilefacenet`.

    Its linear layer has a bias, which the batch norm behind it takes into its mean. That batch
    norm's eps differs from the others', which goes into its scale (held at 1 in MXNet, whatever
    the file says).

    Returns:
        The state_dict, and the backbone's arguments that it does not show.

    Raises:
        FacekdError: The file is damaged, or holds another network.
    """
    state: dict[str, torch.Tensor] = {}
    bias = None
    for name, array in read_params(path).items():
        tensor = torch.from_numpy(array).float()
        key = re.sub("^(arg|aux):", "", name)
        if key == "pre_fc1_bias":
            bias = tensor
            continue
        ours = LAST.get(key) or _name(key)
        if ours is None:
            raise FacekdError(
                f"{path}: {name} {tuple(tensor.shape)} is no part of insightface's MXNet "
                "MobileFaceNet, the only network read from .params files."
            )
        state[ours] = tensor
        if ours.endswith("running_var"):
            state[ours.replace("running_var", "num_batches_tracked")] = torch.tensor(0)
    last = "features.layers.3."
    mean, variance = state.get(last + "running_mean"), state.get(last + "running_var")
    if mean is None or variance is None or bias is None or not mean.shape == bias.shape:
        raise FacekdError(
            f"{path}: fc1_moving_mean, fc1_moving_var or pre_fc1_bias is missing or misshapen; it "
            "is not insightface's MXNet MobileFaceNet, the only network read from .params files."
        )
    state[last + "running_mean"] = mean - bias
    state[last + "weight"] = ((variance + EPS) / (variance + LAST_EPS)).sqrt()
    return state, {"bn_eps": EPS}


def _name(key: str) -> str | None:
    """Our name of an array of the trunk; None if it has no place."""
    match = re.fullmatch(rf"(\w+?)_({'|'.join(LEAF)})", key)
    unit = _unit(match[1]) if match else None
    return f"{unit}.{LEAF[match[2]]}" if match and unit else None


def _unit(name: str) -> str | None:
    """Our name of a convolution with what follows it; stage 2 is our layer 1, dconv_23 layer 2."""
    if name in ("conv_1", "conv_2_dw", "conv_6sep"):
        return {"conv_1": "layers.0", "conv_2_dw": "layers.1", "conv_6sep": "conv_sep"}[name]
    if re.fullmatch(r"conv_6dw\d+_\d+", name):
        return "features.layers.0"
    if match := re.fullmatch(r"dconv_([2-4])\d_conv_(sep|dw|proj)", name):
        return f"layers.{2 * int(match[1]) - 2}.{PART[match[2]]}"
    if match := re.fullmatch(r"res_([2-5])_block(\d+)_conv_(sep|dw|proj)", name):
        return f"layers.{2 * int(match[1]) - 3}.layers.{match[2]}.{PART[match[3]]}"
    return None
