"""Which arithmetic a stage's network runs in."""

import math
import time

import torch
from torch import nn

_ROUNDS = 4
_EMULATED = 3.0  # so much slower than fp32 is no matter of chance


def settle_precision(wanted: str, device: torch.device, model: nn.Module, size: int) -> str:
    """Turn `auto` into fp32, bf16 or fp16.

    On CUDA: bf16 where the device has it, else fp16. On the CPU a few steps are timed in fp32 and
    bf16 by turns, and bf16 is taken only when it is at least a tenth faster: many processors
    emulate it, and are then found out by the first step.

    Args:
        wanted: auto, fp32, bf16 or fp16.
        device: Where the stage trains.
        model: The network; its state is restored after the timing.
        size: Side of its input, pixels.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    state = {k: v.clone() for k, v in model.state_dict().items()}
    rng = torch.get_rng_state()
    images = torch.zeros(16, 3, size, size, dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    best = {"fp32": math.inf, "bf16": math.inf}
    for _ in range(_ROUNDS):
        for precision in best:
            best[precision] = min(best[precision], _time_step(model, images, precision))
        if best["bf16"] > _EMULATED * best["fp32"]:
            break
    model.load_state_dict(state)
    model.zero_grad(set_to_none=True)
    torch.set_rng_state(rng)
    return "bf16" if best["bf16"] < 0.9 * best["fp32"] else "fp32"


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The autocast context of a precision; does nothing in fp32."""
    dtype = torch.float16 if precision == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=precision != "fp32")


def _time_step(model: nn.Module, images: torch.Tensor, precision: str) -> float:
    start = time.perf_counter()
    with autocast(precision, images.device):
        out = model(images)
    out.float().sum().backward()
    return time.perf_counter() - start
