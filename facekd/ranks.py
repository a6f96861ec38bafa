"""What processes that train together share; each alone gets its own back."""

from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")


def world() -> int:
    """Number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """This process's number among them, from 0."""
    return dist.get_rank() if world() > 1 else 0


def gather(rows: Tensor) -> Tensor:
    """The rows of every process, in the order of their ranks; no gradient crosses.

    Args:
        rows: (B, ...), on the process's device; B may differ (a record was skipped), no more.

    Returns:
        (sum of all B, ...), detached.
    """
    rows = rows.detach()
    return rows if world() == 1 else _gathered(rows, _counts(rows))


def gather_own(rows: Tensor) -> Tensor:
    """As `gather`, but this process's own rows keep their gradient.

    A loss that each process takes over its own rows as anchors, with the others' as company, then
    has the gradient of its own part; averaged over processes it is that of the whole batch for the
    anchors, and leaves out what flows through the company.
    """
    if world() == 1:
        return rows
    counts = _counts(rows)
    others = _gathered(rows.detach(), counts)
    start = sum(counts[: rank()])
    return torch.cat([others[:start], rows, others[start + len(rows) :]])


def mean(value: Tensor) -> Tensor:
    """The average over processes, detached; equal in each of them."""
    value = value.detach()
    if world() == 1:
        return value
    total = value.clone()
    dist.all_reduce(total)
    return total / world()


def rows_of_all(rows: Tensor) -> Tensor:
    """As `gather`, with the exact gradient: every process's loss reaches the rows' owner.

    DistributedDataParallel minimises the average of the processes' losses; each rank's gradient by
    its own rows is the sum of what all losses say of them.
    """
    return rows if world() == 1 else _GatherRows.apply(rows)


def total(value: Tensor) -> Tensor:
    """The sum over processes, with the exact gradient: a summand's is that of all losses."""
    return value if world() == 1 else _Total.apply(value)


def largest(value: Tensor) -> Tensor:
    """The element-wise maximum over processes, detached."""
    value = value.detach()
    if world() == 1:
        return value
    found = value.clone()
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return found


class _GatherRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        counts = _counts(rows)
        start = sum(counts[: rank()])
        ctx.own = slice(start, start + len(rows))
        return _gathered(rows, counts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        gradient = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(gradient)
        return gradient[ctx.own]


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return _summed(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _summed(gradient)


def _counts(rows: Tensor) -> list[int]:
    """How many rows each process has."""
    own = torch.tensor([len(rows)], device=rows.device)
    counts = [torch.empty_like(own) for _ in range(world())]
    dist.all_gather(counts, own)
    return torch.cat(counts).tolist()


def _gathered(rows: Tensor, counts: list[int]) -> Tensor:
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows
    parts = [torch.empty_like(padded) for _ in counts]
    dist.all_gather(parts, padded)
    return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])


def _summed(value: Tensor) -> Tensor:
    value = value.clone(memory_format=torch.contiguous_format)
    dist.all_reduce(value)
    return value


def each(value: T) -> list[T]:
    """What every process says (a plain value, such as a path), in the order of their ranks."""
    if world() == 1:
        return [value]
    said: list[T] = [value] * world()
    dist.all_gather_object(said, value)
    return said


def of_first(value: T) -> T:
    """The first process's plain value in every process: what one clock or one disk decides."""
    return each(value)[0]
