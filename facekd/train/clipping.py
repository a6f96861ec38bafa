"""The gradient's norm and the bound on it, where some parameters' rows lie in other processes."""

from collections.abc import Collection, Mapping

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from facekd.ranks import total


@torch.no_grad()
def clip_gradients(
    parameters: Mapping[str, nn.Parameter], max_norm: float, own: Collection[str] = ()
) -> Tensor:
    """Scale all gradients so that their joint norm is at most `max_norm`.

    Every process finds the same norm and scales alike: equal parameters stay equal, and what is not
    finite in one process's rows is not finite for all.

    Args:
        parameters: What learns, by name; a gradient may be sparse (drawn rows of a head).
        max_norm: The bound; infinity: only measure.
        own: Those of which each process has other rows, and their gradient alone.

    Returns:
        The norm before scaling, a scalar, over the rows of all processes.
    """
    gradients: dict[bool, list[Tensor]] = {False: [], True: []}
    for name, parameter in parameters.items():
        if parameter.grad is not None and parameter.grad.is_sparse:
            parameter.grad = parameter.grad.coalesce()
            gradients[name in own].append(parameter.grad.values())
        elif parameter.grad is not None:
            gradients[name in own].append(parameter.grad)
    shared = get_total_norm(gradients[False])
    norm = shared
    if own:
        norm = (shared.square() + total(get_total_norm(gradients[True]).square())).sqrt()
    scale = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    torch._foreach_mul_(gradients[False] + gradients[True], scale)
    return norm
