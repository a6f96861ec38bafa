"""The training loop of one stage."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, fields, replace
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from facekd import ranks
from facekd.backbones.taps import tapped
from facekd.data.batches import Batches
from facekd.data.loader import BadRecords, Batch, make_loader
from facekd.data.slices import Slices
from facekd.embedder import Embedder
from facekd.errors import FacekdError
from facekd.eval.together import Alone, Together
from facekd.model import FaceModel
from facekd.teacher.cache import EmbeddingCache
from facekd.train.checkpoint import Training
from facekd.train.clipping import clip_gradients
from facekd.train.ema import update_mean
from facekd.train.log import Log
from facekd.train.nonfinite import NonFinite
from facekd.train.schedule import lr_factor
from facekd.train.stage_plan import StagePlan
from facekd.train.step_module import StepModule, set_training
from facekd.train.stopping import Interrupted, Stopping
from facekd.train.timing import StepTimer

__all__ = ["Around", "Interrupted", "take_step", "train"]


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
        whole: Network and objective as a step runs them, shared over processes; None: as they are.
        together: The processes that train this stage.
        timer: Told where a step's time goes.
        stopping: Hands out the batches, and knows why to stop.
    """

    plan: StagePlan
    device: torch.device
    teacher: Embedder | None
    cache: EmbeddingCache | None
    validate: Callable[[], None]
    save: Callable[[], None]
    whole: nn.Module | None = None
    together: Together = field(default_factory=Alone)
    timer: StepTimer = field(default_factory=lambda: StepTimer(torch.device("cpu")))
    stopping: Stopping = field(default_factory=lambda: Stopping(Alone(), 10.0))


def train(run: Training, around: Around, log: Log) -> None:
    """Train from `run.step` to the end of the stage.

    Raises:
        Interrupted: SIGINT or SIGTERM came; the state was saved after the step in progress.
        FacekdError: Steps that are not finite, a bad record, or a loader process that died.
    """
    plan, stage, timer, stopping = around.plan, around.plan.stage, around.timer, around.stopping
    loader = make_loader(
        plan.faces,
        Slices(_batches(plan, run.step), around.together.rank, around.together.world),
        plan.augment,
        workers=plan.data.workers,
        pin=around.device.type == "cuda",
        stream=plan.faces.order is not None,
    )
    skipped = run.bad or plan.faces.source.skipped
    bad = BadRecords(plan.data.on_bad_record, plan.data.max_bad, len(plan.faces), skipped)
    nonfinite = NonFinite(plan, plan.work_folder, run.step)
    validate_every = max(1, round(stage.validation.every * plan.steps_per_epoch))
    started, seconds_before, saved = time.monotonic(), run.seconds, run.step

    def save() -> None:
        nonlocal saved
        run.bad = bad.seen = tuple(dict.fromkeys(b for one in ranks.each(bad.seen) for b in one))
        around.save()
        saved = run.step

    def check(batch: Batch) -> None:
        bad.check(batch)
        _stop_if_too_few(batch, run.step, stage.accumulate * (1 if stage.freeze_bn else 2))

    set_training(run.model, run.objective, stage.freeze_bn)
    timer.rest()
    for batch in stopping.batches(loader, check):
        timer.mark("data")
        lr = _set_rate(run, plan)
        told, finite = take_step(run, around, batch)
        nonfinite.check(run, told, finite, batch, _again(run, around, batch))
        if finite and run.ema is not None:
            update_mean(run.ema, run.model, stage.ema, run.step)

        run.step += 1
        run.seconds = seconds_before + time.monotonic() - started
        epoch, images = run.step / plan.steps_per_epoch, len(batch.images) * ranks.world()
        values = {"lr": lr, **told, "skipped_steps": nonfinite.skipped}
        log.step(run.step, epoch, images, values, timer)

        last = run.step == plan.total_steps
        if run.step % validate_every == 0 or last:
            around.validate()
            set_training(run.model, run.objective, stage.freeze_bn)
        if stopping.save_due or run.step % plan.steps_per_epoch == 0 or last:
            save()
            stopping.saved()
        timer.rest()
    if stopping.asked:
        if run.step > saved:
            save()
        around.together.barrier()
        raise stopping.reason(plan.name, run.step, plan.total_steps)


def _batches(plan: StagePlan, start: int) -> Batches:
    balance = plan.stage.balance
    return Batches(
        len(plan.faces),
        plan.stage.batch_size,
        plan.seed,
        plan.augment,
        start,
        plan.total_steps,
        labels=plan.faces.labels,
        per_identity=balance.images_per_identity,
        share=balance.share,
        order=plan.faces.order,
    )


def _set_rate(run: Training, plan: StagePlan) -> float:
    stage = plan.stage
    factor = lr_factor(stage.schedule, run.step, plan.steps_per_epoch, plan.total_steps)
    for group in run.optimizer.param_groups:
        group["lr"] = stage.optimizer.lr * factor
    return stage.optimizer.lr * factor


def take_step(run: Training, around: Around, batch: Batch) -> tuple[dict[str, Tensor], bool]:
    """Train on one batch, in `accumulate` passes: the loss, its gradients, the optimizer.

    Args:
        run: The state; all but `step` moves.
        around: What the step uses.
        batch: This process's images.

    Returns:
        Scalars, averages over passes and processes: the loss, the gradient's norm before clipping,
        and each term's value; and whether they are finite: otherwise the optimizer did not move.
    """
    run.optimizer.zero_grad(set_to_none=True)
    passes = around.plan.stage.accumulate
    sums: Tensor | None = None
    names: list[str] = []
    for number, part in enumerate(_parts(batch, passes)):
        with _unshared(around.whole) if number < passes - 1 else nullcontext():
            total, values = _forward(run, around, part)
            around.timer.mark("forward")
            run.scaler.scale(total / passes).backward()  # type: ignore[no-untyped-call]
            around.timer.mark("backward")
        names = ["loss", *values]
        told = torch.stack([v.detach().float() for v in (total, *values.values())])
        sums = told if sums is None else sums + told
    assert sums is not None
    means = ranks.mean(sums / passes)
    norm, finite = _move(run, means[0], around.plan.stage.optimizer.clip_norm)
    around.timer.mark("step")
    scalars = dict(zip(names, means, strict=True))
    return {"loss": scalars.pop("loss"), "grad_norm": norm, **scalars}, finite


def _forward(run: Training, around: Around, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of a batch, and its terms."""
    device = around.device
    images = batch.images.to(device, non_blocking=True)
    if not around.plan.stage.channels_last:
        images = images.contiguous()
    teacher_embeddings, teacher_maps = None, dict[int, Tensor]()
    if around.cache is not None:
        teacher_embeddings = around.cache.lookup(batch.position, batch.look)
        teacher_embeddings = teacher_embeddings.to(device, non_blocking=True)
    elif isinstance(around.teacher, FaceModel):
        with tapped(around.teacher.backbone, run.objective.maps) as teacher_maps:
            teacher_embeddings = around.teacher.embed(images)
    elif around.teacher is not None:
        teacher_embeddings = around.teacher.embed(images)
    whole = around.whole or StepModule(run.model, run.objective)
    return whole(  # type: ignore[no-any-return]
        images,
        batch.labels.to(device, non_blocking=True),
        batch.position.to(device, non_blocking=True),
        teacher_embeddings,
        teacher_maps,
        run.step / around.plan.steps_per_epoch,
        run.precision,
    )


def _move(run: Training, loss: Tensor, clip_norm: float) -> tuple[Tensor, bool]:
    """The optimizer's step, if all is finite; gives the gradient norm before clipping.

    Reading whether it is waits for the device, as fp16's scaler does: once a step.
    """
    run.scaler.unscale_(run.optimizer)
    own = {name.replace("objective.", "1.", 1) for name in run.sharded}
    norm = clip_gradients(run.parameters, clip_norm or math.inf, own)
    finite = bool(loss.isfinite() & norm.isfinite())
    if finite:
        run.scaler.step(run.optimizer)
        run.scaler.update()
    elif run.scaler.is_enabled():  # in every process alike, whichever it was that overflowed
        run.scaler.update(run.scaler.get_scale() * run.scaler.get_backoff_factor())
    return norm, finite


def _parts(batch: Batch, count: int) -> Iterator[Batch]:
    """A batch in so many parts; of one size, unless records were skipped."""
    if count == 1:
        yield batch
        return
    tensors = {f.name for f in fields(Batch)} - {"bad"}
    ends = [len(batch.images) * k // count for k in range(count + 1)]
    for start, stop in pairwise(ends):
        yield replace(batch, **{name: getattr(batch, name)[start:stop] for name in tensors})


def _unshared(whole: nn.Module | None) -> AbstractContextManager[None]:
    """Gradients of this pass stay here: the last one's exchange sends the sum."""
    if isinstance(whole, DistributedDataParallel):
        return whole.no_sync()
    return nullcontext()


def _again(run: Training, around: Around, batch: Batch) -> Callable[[], object]:
    """Runs the passes of a step once more, forward only."""
    parts = _parts(batch, around.plan.stage.accumulate)
    return lambda: [_forward(run, around, part) for part in parts]


def _stop_if_too_few(batch: Batch, step: int, needed: int) -> None:
    if len(batch.images) < needed:  # two a pass for batch norm
        raise FacekdError(
            f"step {step}: {len(batch.images)} of the batch's images decode, and at least {needed} "
            f"are needed; raise batch_size or repair the data ({batch.bad[-1]})"
        )
