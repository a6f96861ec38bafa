"""Steps whose loss or gradient is not finite: left out, counted, and after too many a stop."""

import csv
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from facekd import ranks
from facekd.data.loader import Batch
from facekd.errors import FacekdError
from facekd.train.checkpoint import Training
from facekd.train.log import append_rows, keep_rows
from facekd.train.stage_plan import StagePlan
from facekd.train.step_module import first_not_finite


class NonFinite:
    """Keeps the policy. Loss and gradient are averages over processes, so all decide alike.

    The optimizer has not moved on such a step. Their images stand in `nonfinite.csv` in the stage's
    folder. It stops at once when a batch norm's statistics or a term's memory took in what is not
    finite: nothing later would mend them.

    Args:
        plan: The stage.
        folder: Its folder.
        step: Steps done; what the file says of later ones is dropped.

    Attributes:
        skipped: Steps left out so far, over all sittings.
    """

    def __init__(self, plan: StagePlan, folder: Path, step: int) -> None:
        self.plan, self.path = plan, folder / "nonfinite.csv"
        if ranks.rank() == 0:
            keep_rows(self.path, step - 1)
        self.skipped = ranks.of_first(len(_steps(self.path)))
        self._in_a_row = 0

    def check(
        self,
        run: Training,
        told: dict[str, Tensor],
        finite: bool,
        batch: Batch,
        forward: Callable[[], object],
    ) -> None:
        """Count a step, or stop.

        Args:
            run: The state after the step, `step` not yet raised.
            told: Loss, grad_norm and each term's value.
            finite: Whether the optimizer moved.
            batch: This process's images.
            forward: Runs the batch through network and objective again.

        Raises:
            FacekdError: Too many in a row; or all of a stage's steps; or lasting damage.
        """
        if finite:
            self._in_a_row = 0
            return
        self._in_a_row += 1
        self.skipped += 1
        self._write(run.step, batch)
        damaged = first_not_finite(run.model) or first_not_finite(run.objective)
        lasting = any(ranks.each(damaged))
        wanted = self.plan.stage.stop_after_nonfinite
        whole_stage = self.skipped == self.plan.total_steps
        if self._in_a_row >= wanted or lasting or whole_stage:
            found = ranks.each(_first_tensor(run, forward))
            first = next((f"{name}{_of(rank)}" for rank, name in enumerate(found) if name), "")
            raise FacekdError(self._sentence(run, told, first, batch))

    def _write(self, step: int, batch: Batch) -> None:
        shares = ranks.each((batch.index.tolist(), batch.position.tolist(), batch.labels.tolist()))
        if ranks.rank():
            return
        columns = ("step", "process", "record", "position", "class")
        rows = [
            dict(zip(columns, (step, rank, *image), strict=True))
            for rank, share in enumerate(shares)
            for image in zip(*share, strict=True)
        ]
        append_rows(self.path, rows)

    def _sentence(self, run: Training, told: dict[str, Tensor], first: str, batch: Batch) -> str:
        terms = [n for n, v in told.items() if n not in ("loss", "grad_norm") and not v.isfinite()]
        if told["loss"].isfinite():
            grads = {n: p.grad for n, p in run.parameters.items() if p.grad is not None}
            name = next((n for n, g in grads.items() if not g.isfinite().all()), "all parameters")
            what = f"the gradient of {name} is not finite although the loss is"
        else:
            what = f"the loss is {told['loss'].item()}; not finite: {', '.join(terms) or 'the sum'}"
        rows = f", {self._in_a_row} steps in a row" if self._in_a_row > 1 else ""
        where = f" The first tensor that is not: {first}." if first else ""
        return (
            f"step {run.step}: {what}.{where} The optimizer did not move on it{rows}; lower the "
            "learning rate, lengthen the warm-up or use precision=fp32; the last checkpoint is "
            f"intact. {self.path} lists the images (record ids of the batch: "
            f"{batch.index[:8].tolist()} ...)."
        )


def _of(rank: int) -> str:
    return f" (process {rank})" if ranks.world() > 1 else ""


def _steps(path: Path) -> set[str]:
    if not path.exists():
        return set()
    with path.open(newline="", encoding="utf-8") as file:
        return {row["step"] for row in csv.DictReader(file)}


def _first_tensor(run: Training, forward: Callable[[], object]) -> str:
    """The first in the order of computing: weights, layers' outputs, terms' values, gradients."""
    for name, parameter in run.parameters.items():
        if not parameter.isfinite().all():
            return f"the weight {name}"
    found: list[str] = []
    handles = [
        module.register_forward_hook(_noting(f"{what} {name}".strip(), found))
        for what, part in (("the network's output", run.model), ("the loss's", run.objective))
        for name, module in part.named_modules()
        if not any(module.children())
    ]
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    if found:
        return found[0]
    named = reversed(run.parameters.items())  # backward goes from the last layer to the first
    bad = (n for n, p in named if p.grad is not None and not p.grad.isfinite().all())
    return next((f"the gradient of {name}" for name in bad), "")


def _noting(name: str, found: list[str]) -> Callable[[nn.Module, object, object], None]:
    def note(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and not output.isfinite().all():
            found.append(name)

    return note
