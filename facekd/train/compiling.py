"""`compile: on | auto`: torch.compile of the network, its gain measured before it is used."""

import statistics
import time

import torch
from torch import Tensor

from facekd import ranks
from facekd.train.precision import autocast
from facekd.train.step_module import StepModule

_STEPS = 5
_WORTH = 1.05  # times as fast, for `auto`


def compile_network(
    whole: StepModule, wanted: str, batch: int, precision: str, device: torch.device
) -> str:
    """Compile the network, or leave it, and say why.

    Forward and backward of a batch of made images are timed as they are and compiled; the network's
    state and all random numbers are put back.

    Args:
        whole: Its `compiled` is set when compiling is wanted, works and (auto) gains.
        wanted: auto, on or off.
        batch: Images of one pass in this process.
        precision: As trained in.
        device: Where it trains.

    Returns:
        A sentence; "" when it is off.
    """
    if wanted == "off":
        return ""
    if whole.objective.maps:
        return "compile: off, because its loss reads feature maps inside the network"
    state = {name: tensor.clone() for name, tensor in whole.network.state_dict().items()}
    size = whole.network.preprocess.input_size
    images = torch.zeros(batch, 3, size, size, dtype=torch.uint8, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    before = after = 0.0
    failure = ""
    with torch.random.fork_rng():
        before = _rate(whole, images, precision)
        whole.compiled = torch.compile(whole.network.forward)
        try:
            after = _rate(whole, images, precision)
        except Exception as error:  # whatever the compiler raises: training goes on without it
            failure = " ".join(str(error).split("\n")[:2]).strip() or repr(error)
    whole.network.load_state_dict(state)
    whole.network.zero_grad(set_to_none=True)
    failure = next(filter(None, ranks.each(failure)), "")
    if failure:
        whole.compiled = None
        return f"compile: off, because torch.compile failed here ({failure})"
    before, after = ranks.of_first((before, after))
    measured = f"{before:.1f} img/s as it is, {after:.1f} img/s compiled, forward and backward"
    if wanted == "auto" and after < _WORTH * before:
        whole.compiled = None
        return f"compile: off, not worth it here ({measured})"
    return f"compile: on ({measured})"


def _rate(whole: StepModule, images: Tensor, precision: str) -> float:
    """Images a second, forward and backward; the first pass, which compiles, does not count."""
    seconds = []
    for _ in range(1 + _STEPS):
        start = time.perf_counter()
        with autocast(precision, images.device):
            out = (whole.compiled or whole.network)(images)
        out.float().sum().backward()
        if images.is_cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return len(images) / statistics.median(seconds[1:])
