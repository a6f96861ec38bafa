"""What processes that train together share; each alone gets its own back."""

import torch
import torch.distributed as dist
from torch import Tensor


def world() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def gather(rows: Tensor) -> Tensor:
    """The rows of every process, in the order of their ranks; no gradient crosses.

    Args:
        rows: (B, ...), the same shape in every process, on its device.

    Returns:
        (world x B, ...), detached.
    """
    rows = rows.detach()
    if world() == 1:
        return rows
    parts = [torch.empty_like(rows) for _ in range(world())]
    dist.all_gather(parts, rows.contiguous())
    return torch.cat(parts)


def gather_own(rows: Tensor) -> Tensor:
    """As `gather`, but this process's own rows keep their gradient.

    A loss that each process takes over its own rows as anchors, with the others' as company, then
    has the gradient of its own part; averaged over processes it is that of the whole batch for the
    anchors, and leaves out what flows through the company.
    """
    if world() == 1:
        return rows
    others = gather(rows)
    start = dist.get_rank() * len(rows)
    return torch.cat([others[:start], rows, others[start + len(rows) :]])


def mean(value: Tensor) -> Tensor:
    """The average over processes, detached; equal in each of them."""
    value = value.detach()
    if world() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / world()
