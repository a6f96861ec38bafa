"""The training loop of one stage."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from facekd.backbones.taps import tapped
from facekd.data.batches import Batches
from facekd.data.loader import BadRecords, Batch, make_loader
from facekd.embedder import Embedder
from facekd.errors import FacekdError
from facekd.model import FaceModel
from facekd.teacher.cache import EmbeddingCache
from facekd.train.checkpoint import Training
from facekd.train.log import Log
from facekd.train.plan import StagePlan
from facekd.train.precision import autocast
from facekd.train.schedule import lr_factor


class Interrupted(Exception):  # noqa: N818  # not an error: the user asked for it
    """A signal stopped the stage after its state was saved.

    Attributes:
        signum: The signal.
    """

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(message)
        self.signum = signum


@dataclass(frozen=True)
class Around:
    """What the loop uses and does not change.

    Attributes:
        plan: The stage.
        device: Where it trains.
        teacher: Gives embeddings step by step; None when the cache does, or nobody need.
        cache: The teacher's embeddings, or None.
        validate: Looks at the verification sets; called after each interval of the recipe.
        save: Writes a checkpoint.
    """

    plan: StagePlan
    device: torch.device
    teacher: Embedder | None
    cache: EmbeddingCache | None
    validate: Callable[[], None]
    save: Callable[[], None]


def train(run: Training, around: Around, log: Log) -> None:
    """Train from `run.step` to the end of the stage.

    Raises:
        Interrupted: SIGINT or SIGTERM came; the state was saved after the step in progress.
        FacekdError: The loss or the gradient is not finite, or a record is bad.
    """
    plan, stage, data = around.plan, around.plan.stage, around.plan.data
    batches = Batches(
        len(plan.faces),
        stage.batch_size,
        plan.seed,
        plan.augment,
        run.step,
        plan.total_steps,
        labels=plan.faces.labels,
        per_identity=stage.balance.images_per_identity,
        share=stage.balance.share,
    )
    on_cuda = around.device.type == "cuda"
    loader = make_loader(plan.faces, batches, plan.augment, workers=data.workers, pin=on_cuda)
    skipped = run.bad or plan.faces.source.skipped
    bad = BadRecords(data.on_bad_record, data.max_bad, len(plan.faces), skipped)
    validate_every = max(1, round(stage.validation.every * plan.steps_per_epoch))
    saved_at = started = time.monotonic()
    seconds_before = run.seconds
    run.model.train()
    run.objective.train()

    with _signals() as received:
        for batch in loader:
            bad.check(batch)
            _stop_if_too_few(batch, run.step)
            lr = stage.optimizer.lr * lr_factor(
                stage.schedule, run.step, plan.steps_per_epoch, plan.total_steps
            )
            for group in run.optimizer.param_groups:
                group["lr"] = lr
            told = take_step(run, around, batch)

            run.step += 1
            run.bad = bad.seen
            run.seconds = seconds_before + time.monotonic() - started
            epoch = run.step / plan.steps_per_epoch
            log.step(run.step, epoch, len(batch.images), {"lr": lr, **told})

            last = run.step == plan.total_steps
            epoch_ends = run.step % plan.steps_per_epoch == 0
            if run.step % validate_every == 0 or last:
                around.validate()
                run.model.train()
            due = time.monotonic() - saved_at > 60 * stage.checkpoint_minutes
            if epoch_ends or due or received or last:
                around.save()
                saved_at = time.monotonic()
            if received:
                raise Interrupted(
                    received[0],
                    f"stage {plan.name!r} stopped at step {run.step} of {plan.total_steps}, and "
                    "its state is saved; the same command goes on from there.",
                )


def take_step(run: Training, around: Around, batch: Batch) -> dict[str, Tensor]:
    """Train on one batch: the loss, its gradients, the optimizer.

    Returns:
        Scalars: the loss, the gradient's norm before clipping, and each term's value.

    Raises:
        FacekdError: The loss or the gradient is not finite.
    """
    total, values = _forward(run, around, batch)
    _stop_unless_finite(total, values, run.step, batch)
    norm = _backward(run, total, around.plan.stage.optimizer.clip_norm, batch)
    return {"loss": total.detach(), "grad_norm": norm, **values}


def _forward(run: Training, around: Around, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, and its terms."""
    device = around.device
    images = batch.images.to(device, non_blocking=True)
    if not around.plan.stage.channels_last:
        images = images.contiguous()
    teacher_embeddings, teacher_maps = None, dict[int, Tensor]()
    if around.cache is not None:
        teacher_embeddings = around.cache.lookup(batch.position, batch.look).to(device)
    elif isinstance(around.teacher, FaceModel):
        with tapped(around.teacher.backbone, run.objective.maps) as teacher_maps:
            teacher_embeddings = around.teacher.embed(images)
    elif around.teacher is not None:
        teacher_embeddings = around.teacher.embed(images)
    with (
        autocast(run.precision, device),
        tapped(run.model.backbone, run.objective.maps) as student_maps,
    ):
        embeddings = run.model(images)
    return run.objective(  # type: ignore[no-any-return]
        embeddings.float(),
        batch.labels.to(device),
        batch.position.to(device),
        teacher_embeddings,
        student_maps=student_maps,
        teacher_maps=teacher_maps,
        epoch=run.step / around.plan.steps_per_epoch,
    )


def _backward(run: Training, total: Tensor, clip_norm: float, batch: Batch) -> Tensor:
    """Gradients and the optimizer's step; gives the gradient norm before clipping."""
    run.optimizer.zero_grad(set_to_none=True)
    run.scaler.scale(total).backward()  # type: ignore[no-untyped-call]
    run.scaler.unscale_(run.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(run.parameters.values(), clip_norm or math.inf)
    if not run.scaler.is_enabled() and not torch.isfinite(norm):
        grads = {n: p.grad for n, p in run.parameters.items() if p.grad is not None}
        name = next((n for n, g in grads.items() if not g.isfinite().all()), "all parameters")
        raise FacekdError(
            f"step {run.step}: the gradient of {name} is not finite although the loss is; lower "
            f"the learning rate or use precision=fp32 (record ids {batch.index[:8].tolist()} ...)."
        )
    run.scaler.step(run.optimizer)
    run.scaler.update()
    return norm


def _stop_if_too_few(batch: Batch, step: int) -> None:
    if len(batch.images) < 2:  # batch norm needs two
        raise FacekdError(
            f"step {step}: {len(batch.images)} of the batch's images decode, and at least two are "
            f"needed; raise batch_size or repair the data ({batch.bad[-1]})"
        )


def _stop_unless_finite(total: Tensor, values: dict[str, Tensor], step: int, batch: Batch) -> None:
    if torch.isfinite(total):
        return
    terms = [name for name, value in values.items() if not torch.isfinite(value)] or ["the sum"]
    raise FacekdError(
        f"step {step}: the loss is {total.item()}; not finite: {', '.join(terms)}. Lower the "
        "learning rate, lengthen the warm-up or use precision=fp32; the last checkpoint is intact "
        f"(record ids of the batch: {batch.index[:8].tolist()} ...)."
    )


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying; a second one of a kind does its usual work."""
    received: list[int] = []
    before: dict[int, Any] = {}

    def note(signum: int, frame: object) -> None:
        received.append(signum)
        signal.signal(signum, before[signum])

    for stop in (signal.SIGINT, signal.SIGTERM):
        before[stop] = signal.signal(stop, note)
    try:
        yield received
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
