import math

import pytest
import torch
from torch import nn

from facekd.heads.classifier import Classifier
from facekd.recipe import Optimizer, Schedule
from facekd.train.schedule import lr_factor, make_optimizer

PER_EPOCH, EPOCHS, WARMUP = 10, 6, 2
TOTAL = PER_EPOCH * EPOCHS


def slowly(decay, step):
    """The factor as the words of the documentation have it, epoch by epoch."""
    if step < WARMUP * PER_EPOCH:
        return (step + 1) / (WARMUP * PER_EPOCH)
    t = (step - WARMUP * PER_EPOCH) / (TOTAL - WARMUP * PER_EPOCH)
    factor = 1.0
    if decay == "cosine":
        factor = 0.5 + 0.5 * math.cos(math.pi * t)
    elif decay == "polynomial":
        factor = (1 - t) * (1 - t)
    elif decay == "steps":
        for milestone in (3, 5):
            if step / PER_EPOCH >= milestone:
                factor *= 0.1
    return factor


@pytest.mark.parametrize("decay", ["cosine", "polynomial", "steps", "none"])
def test_lr_factor(decay):
    schedule = Schedule(
        epochs=EPOCHS, warmup_epochs=WARMUP, decay=decay, power=2, milestones=(3, 5), gamma=0.1
    )
    for step in range(TOTAL):
        found = lr_factor(schedule, step, PER_EPOCH, TOTAL)
        assert found == pytest.approx(slowly(decay, step), abs=1e-12), step


def test_warm_up_reaches_the_whole_rate_and_the_end_is_almost_nothing():
    schedule = Schedule(epochs=4, warmup_epochs=0.5, decay="polynomial")
    factors = [lr_factor(schedule, step, 10, 40) for step in range(40)]
    assert factors[4] == 1.0
    assert max(factors) == 1.0
    assert factors[0] == pytest.approx(0.2)
    assert 0 < factors[-1] < 0.05


def test_without_warm_up_the_first_step_has_the_whole_rate():
    for decay in ("cosine", "polynomial", "none"):
        assert lr_factor(Schedule(epochs=1, decay=decay), 0, 3, 3) == 1.0


@pytest.fixture
def modules():
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.PReLU(4), nn.Flatten(), nn.Linear(4, 2)
    )
    head = Classifier(3, 2, bias=True)
    frozen = Classifier(3, 2).freeze()
    return network, nn.ModuleDict({"head": head, "frozen": frozen})


def by_decay(optimizer, named):
    names = {id(p): n for n, p in named.items()}
    return {
        group["weight_decay"]: {names[id(p)] for p in group["params"]}
        for group in optimizer.param_groups
    }


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_norms_slopes_and_biases_are_not_decayed(modules, name):
    optimizer, named = make_optimizer(modules, Optimizer(name=name, weight_decay=0.1))
    assert isinstance(optimizer, torch.optim.SGD if name == "sgd" else torch.optim.AdamW)
    assert by_decay(optimizer, named) == {
        0.1: {"0.0.weight", "0.4.weight", "1.head.weight"},
        0.0: {"0.0.bias", "0.1.weight", "0.1.bias", "0.2.weight", "0.4.bias", "1.head.bias"},
    }


def test_decay_all_and_what_is_frozen(modules):
    optimizer, named = make_optimizer(modules, Optimizer(weight_decay=0.1, decay_all=True))
    groups = by_decay(optimizer, named)
    assert set(groups) == {0.1}
    assert not any("frozen" in name for name in named)
    assert len(groups[0.1]) == len(named) == 9


def test_settings_reach_the_optimizer(modules):
    sgd, _ = make_optimizer(modules, Optimizer(lr=0.3, momentum=0.8, nesterov=True))
    group = sgd.param_groups[0]
    assert (group["lr"], group["momentum"], group["nesterov"]) == (0.3, 0.8, True)
    plain, _ = make_optimizer(modules, Optimizer(momentum=0, nesterov=True))
    assert plain.param_groups[0]["nesterov"] is False
    adamw, _ = make_optimizer(modules, Optimizer(name="adamw", lr=1e-3, betas=(0.8, 0.9)))
    assert adamw.param_groups[0]["betas"] == (0.8, 0.9)
