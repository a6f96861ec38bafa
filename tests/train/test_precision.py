"""Which arithmetic `auto` settles on."""

import time

import pytest
import torch
from torch import nn

from facekd.train.precision import autocast, settle_precision

CPU = torch.device("cpu")


class Slow(nn.Module):
    """A network that takes so many milliseconds in fp32 and in bf16."""

    def __init__(self, fp32, bf16):
        super().__init__()
        self.milliseconds = {False: fp32, True: bf16}
        self.norm = nn.BatchNorm2d(3)
        self.calls = []

    def forward(self, images):
        in_bf16 = torch.is_autocast_enabled("cpu")
        self.calls.append(in_bf16)
        time.sleep(self.milliseconds[in_bf16] / 1e3)
        return self.norm(images.float() + torch.rand(1)).mean((2, 3))


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen", "steps"),
    [
        (100, 5, "bf16", 8),
        (60, 60, "fp32", 8),  # not a tenth faster
        (5, 200, "fp32", 2),  # emulated: found out by the first step
    ],
)
def test_auto_believes_what_it_measures(fp32, bf16, chosen, steps):
    model = Slow(fp32, bf16)
    assert settle_precision("auto", CPU, model, 16) == chosen
    assert model.calls == [False, True] * (steps // 2)


def test_measuring_leaves_no_trace():
    model = Slow(0, 0)
    before, random = {k: v.clone() for k, v in model.state_dict().items()}, torch.get_rng_state()
    settle_precision("auto", CPU, model, 16)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    assert all(p.grad is None for p in model.parameters())
    assert model.training


@pytest.mark.parametrize("wanted", ["fp32", "bf16", "fp16"])
def test_what_is_asked_for_is_not_measured(wanted):
    model = Slow(0, 0)
    assert settle_precision(wanted, CPU, model, 16) == wanted
    assert model.calls == []


def test_autocast_computes_in_what_it_says():
    linear, rows = nn.Linear(4, 4), torch.zeros(2, 4)
    for precision, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        with autocast(precision, CPU):
            assert linear(rows).dtype == dtype
