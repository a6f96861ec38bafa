"""The learning rate at a step, and an optimizer that decays what should be decayed."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from facekd.recipe import Optimizer, Schedule


def lr_factor(schedule: Schedule, step: int, steps_per_epoch: int, total_steps: int) -> float:
    """What the base learning rate is multiplied by at a step (from 0).

    Linear warm-up from 1 / (warm-up steps) to 1, then over the rest of the run, with t the part
    of it already done: cosine (1 + cos(pi t)) / 2; polynomial (1 - t)^power; steps: gamma for each
    milestone passed.
    """
    warmup = round(schedule.warmup_epochs * steps_per_epoch)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, total_steps - warmup)
    if schedule.decay == "cosine":
        return (1 + math.cos(math.pi * done)) / 2
    if schedule.decay == "polynomial":
        return float((1 - done) ** schedule.power)
    if schedule.decay == "steps":
        passed = sum(step >= round(m * steps_per_epoch) for m in schedule.milestones)
        return float(schedule.gamma**passed)
    return 1.0


def make_optimizer(
    modules: Iterable[nn.Module], settings: Optimizer
) -> tuple[torch.optim.Optimizer, dict[str, nn.Parameter]]:
    """The optimizer over every parameter that learns.

    Weight decay acts on matrices and kernels; batch norm, PReLU and biases (all parameters of one
    dimension) are left alone unless `decay_all` says otherwise. On CUDA the update is fused.

    Args:
        modules: Network, then objective; order and names identify the state in a checkpoint.
        settings: The recipe's optimizer.

    Returns:
        The optimizer, and its parameters by name.
    """
    named = {
        f"{number}.{name}": parameter
        for number, module in enumerate(modules)
        for name, parameter in module.named_parameters()
        if parameter.requires_grad
    }
    decayed = [p for p in named.values() if settings.decay_all or p.ndim > 1]
    rest = [p for p in named.values() if not settings.decay_all and p.ndim <= 1]
    groups = [
        {"params": decayed, "weight_decay": settings.weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    fused = all(p.is_cuda for p in named.values()) or None
    if settings.name == "adamw":
        adamw = torch.optim.AdamW(groups, lr=settings.lr, betas=settings.betas, fused=fused)
        return adamw, named
    optimizer = torch.optim.SGD(
        groups,
        lr=settings.lr,
        momentum=settings.momentum,
        nesterov=settings.nesterov and settings.momentum > 0,
        fused=fused,
    )
    return optimizer, named
