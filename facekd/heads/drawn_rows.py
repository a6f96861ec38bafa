"""A few rows of a large parameter: read with a gradient of theirs alone, and stepped alone."""

from typing import Any

import torch
from torch import Tensor, nn

Parked = tuple[list[nn.Parameter], int, nn.Parameter, Tensor]


def drawn_rows(parameter: Tensor, drawn: Tensor | None, share: float = 1.0) -> Tensor:
    """Some rows of a parameter, whose gradient is a sparse tensor of just these rows.

    Args:
        parameter: (n, ...).
        drawn: (S,) int64, rising, without repetition; None: all rows, and a dense gradient.
        share: What the gradient is multiplied by.

    Returns:
        (S, ...).
    """
    if drawn is None and share == 1.0:
        return parameter
    return _DrawnRows.apply(parameter, drawn, share)  # type: ignore[no-any-return]


class _DrawnRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, parameter: Tensor, drawn: Tensor | None, share: float) -> Tensor:
        ctx.shape, ctx.share = parameter.shape, share
        ctx.save_for_backward(drawn)
        return parameter.view_as(parameter) if drawn is None else parameter[drawn]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        (drawn,) = ctx.saved_tensors
        gradient = gradient * ctx.share
        if drawn is None:
            return gradient, None, None
        rows = torch.sparse_coo_tensor(
            drawn.unsqueeze(0), gradient, ctx.shape, is_coalesced=True, check_invariants=False
        )
        return rows, None, None


def step_drawn_rows_alone(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimizer change only the rows for which a parameter's gradient has entries.

    For the time of its step a parameter with a sparse gradient gives its place to one made of
    these rows, with their rows of the state (momentum, moments); afterwards they go back. So the
    other rows feel no momentum and no weight decay, and the state stays that of the whole parameter
    under its name. The step count of AdamW's bias correction is the parameter's, not a row's.

    Args:
        optimizer: One with a state of tensors shaped like the parameter, and of plain values.
    """
    parked: list[Parked] = []

    def before(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        for group in optimizer.param_groups:
            for place, parameter in enumerate(group["params"]):
                if parameter.grad is not None and parameter.grad.is_sparse:
                    drawn = _swap_in(optimizer, group["params"], place)
                    parked.append((group["params"], place, parameter, drawn))

    def after(optimizer: torch.optim.Optimizer, args: object, kwargs: object) -> None:
        while parked:
            _swap_out(optimizer, *parked.pop())

    optimizer.register_step_pre_hook(before)
    optimizer.register_step_post_hook(after)


def _swap_in(optimizer: torch.optim.Optimizer, group: list[nn.Parameter], place: int) -> Tensor:
    whole = group[place]
    assert whole.grad is not None
    gradient = whole.grad.coalesce()
    drawn = gradient.indices()[0]
    rows = nn.Parameter(whole.detach()[drawn])
    rows.grad = gradient.values()
    optimizer.state[rows] = {
        key: value[drawn] if _is_like(value, whole) else value
        for key, value in optimizer.state[whole].items()
    }
    group[place] = rows
    return drawn


@torch.no_grad()
def _swap_out(
    optimizer: torch.optim.Optimizer,
    group: list[nn.Parameter],
    place: int,
    whole: nn.Parameter,
    drawn: Tensor,
) -> None:
    rows = group[place]
    group[place] = whole
    whole[drawn] = rows
    state = optimizer.state[whole]
    for key, value in optimizer.state.pop(rows).items():
        if not _is_like(value, rows):
            state[key] = value
            continue
        if key not in state:
            state[key] = torch.zeros_like(whole, dtype=value.dtype)
        state[key][drawn] = value


def _is_like(value: object, parameter: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == parameter.shape
