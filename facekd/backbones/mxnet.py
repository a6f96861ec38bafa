"""insightface's MXNet networks: what their parameter files hold beyond names, made like ours."""

import re
from pathlib import Path

import torch

from facekd.backbones.families import MXNET_EPS
from facekd.backbones.mxnet_params import read_params

LAST_EPS = 2e-5  # of the last batch norm in every network


def read_mxnet(path: Path) -> dict[str, torch.Tensor]:
    """Read a .params file of MobileFaceNet or LResNet, under MXNet's names without `arg:`, `aux:`.

    The last batch norm has no scale in MXNet (`fix_gamma`), whatever the file says: it becomes 1.
    MobileFaceNet's linear layer has a bias, which the batch norm behind it takes into its mean;
    that batch norm's eps differs from the others', which goes into its scale.

    Raises:
        FacekdError: The file is damaged.
    """
    state: dict[str, torch.Tensor] = {}
    for name, array in read_params(path).items():
        key = re.sub("^(arg|aux):", "", name)
        state["pre_fc1_weight" if key == "fc1_weight" else key] = torch.from_numpy(array).float()
        if key.endswith("_moving_var"):
            state[key.replace("moving_var", "num_batches_tracked")] = torch.tensor(0)
    variance = state.get("fc1_moving_var")
    if variance is None:
        return state
    state["fc1_gamma"] = torch.ones_like(variance)
    if "conv_1_conv2d_weight" in state:
        state["fc1_gamma"] = ((variance + MXNET_EPS) / (variance + LAST_EPS)).sqrt()
        bias, mean = state.get("pre_fc1_bias"), state.get("fc1_moving_mean")
        if bias is not None and mean is not None and mean.shape == bias.shape:
            state["fc1_moving_mean"] = mean - state.pop("pre_fc1_bias")
    return state
