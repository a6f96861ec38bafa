"""Running a recipe: each stage once, in order, from where it stopped."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from facekd.eval.together import Alone, Together
from facekd.files import sweep
from facekd.locks import held
from facekd.recipe import Recipe, select_stages
from facekd.train.build import build_teacher, build_training, pick_device
from facekd.train.checkpoint import Training, read_values
from facekd.train.checkpoints import Checkpoints, is_best
from facekd.train.compiling import compile_network
from facekd.train.distributed import joined, lost_process_told, share_network
from facekd.train.ema import with_mean
from facekd.train.log import Log, Quiet
from facekd.train.loop import Around, train
from facekd.train.plan import plan_recipe
from facekd.train.results import (
    check_allowed,
    checkpoints_of,
    describe_run,
    is_finished,
    refuse_changes,
    settings_of,
    write_results,
    write_stage_head,
)
from facekd.train.stage_plan import StagePlan
from facekd.train.status import told_status
from facekd.train.step_module import StepModule, deterministic
from facekd.train.stopping import Stopping
from facekd.train.timing import StepTimer, in_words, machine_summary
from facekd.train.validate import check_validation, make_validator


def run_recipe(
    recipe: Recipe, names: Sequence[str] = (), allow_changed: Sequence[str] = ()
) -> list[Path]:
    """Train every stage that is not finished.

    Args:
        recipe: The recipe; the run folder keeps the whole of it.
        names: Train these stages only, and those they build on; empty: all.
        allow_changed: Dotted keys of settings in which a stage that was begun may differ; it goes
            on with the new ones, and one that is finished stays as it is.

    Returns:
        The networks' files, `<output>/<stage>.pt`, in the order of the stages.

    Raises:
        FacekdError: Bad input, or a run folder that belongs to another recipe.
        facekd.train.loop.Interrupted: A signal stopped it; everything is saved.
    """
    chosen = select_stages(recipe, names) if names else recipe
    with joined(list(chosen.stages.values())) as together:
        return _run(chosen, recipe, allow_changed, together)


def _run(
    chosen: Recipe, whole: Recipe, allow_changed: Sequence[str], together: Together
) -> list[Path]:
    plans = plan_recipe(chosen)
    check_allowed(plans, allow_changed)
    changes = {}
    for plan in plans:
        changes[plan.name] = refuse_changes(plan, allow_changed)
        check_validation(plan)
        pick_device(plan.stage)
    if together.rank == 0:
        describe_run(whole)
    for plan in plans:
        if is_finished(plan):
            if together.rank == 0:
                checkpoints_of(plan).clear()  # where a kill came between the results and this
            kept = "".join(f"; {change}, and it stays" for change in changes[plan.name].values())
            print(f"stage {plan.name!r} is finished: {plan.model_path}{kept}")
        else:
            run_stage(plan, changes[plan.name], together)
    return [plan.model_path for plan in plans]


def run_stage(
    plan: StagePlan,
    changes: Mapping[str, str] | None = None,
    together: Together | None = None,
) -> None:
    """Train one stage to its end, from its newest whole checkpoint where there is one.

    Only one command at a time trains a stage.

    Args:
        plan: The stage.
        changes: In which settings it may differ from the checkpoint: dotted key -> a sentence.
        together: The processes that train it; None: only this one.

    Raises:
        FacekdError: As `facekd.train.loop.train`.
        facekd.train.loop.Interrupted: A signal stopped it; everything is saved.
    """
    together = together or Alone()
    taken = (
        f"another process trains stage {plan.name!r} in {plan.folder} (its number stands in "
        f"{plan.work_folder / 'status.json'}); wait for it or stop it, or choose another output=."
    )
    with held(plan.work_folder / ".lock", taken) if together.rank == 0 else nullcontext():
        if together.rank == 0:  # what kills left
            sweep(plan.work_folder)
            sweep(plan.folder, f"{plan.name}.")
        _run_stage(plan, changes, together)


def _run_stage(plan: StagePlan, changes: Mapping[str, str] | None, together: Together) -> None:
    device = pick_device(plan.stage)
    checkpoints = checkpoints_of(plan)
    saved, changes = checkpoints.find(), changes or {}
    precision = None
    if saved and "precision" not in changes:
        precision = str(read_values(saved)["precision"])
    with deterministic(plan.stage.deterministic):
        teacher, cache, teacher_head = build_teacher(plan, device, together)
        run = build_training(plan, device, teacher, teacher_head, precision)
        if saved:
            checkpoints.load(saved, run)
            print(f"stage {plan.name!r} goes on at step {run.step} of {plan.total_steps}")
            for change in changes.values():
                run.allowed += (f"{change}, from step {run.step}",)
                print(f"stage {plan.name!r}: {change}")
        _say_what_trains(plan, run, device, together)
        whole = StepModule(run.model, run.objective)
        images, wanted = _pass_size(plan, together), plan.stage.compile
        said = compile_network(whole, wanted, images, run.precision, device)
        if said:
            print(f"stage {plan.name!r}: {said}")
        around = Around(
            plan=plan,
            device=device,
            teacher=teacher,
            cache=cache,
            validate=lambda: None,
            save=lambda: None,
            whole=share_network(whole, run.sharded),
            together=together,
            timer=StepTimer(device),
        )
        _train_and_write(run, around, checkpoints)


def _train_and_write(run: Training, around: Around, checkpoints: Checkpoints) -> None:
    """Train and write the results; a signal is obeyed when that leaves all in order."""
    plan, together = around.plan, around.together
    with Stopping(together, plan.stage.checkpoint_minutes) as stopping:
        _train(run, replace(around, stopping=stopping), checkpoints)
        print(
            f"stage {plan.name!r} is finished after {run.seconds / 60:.1f} min: {plan.model_path}"
        )
        stopping.agree()
        if stopping.asked:
            raise stopping.reason(plan.name, run.step, plan.total_steps)


def _train(run: Training, around: Around, checkpoints: Checkpoints) -> None:
    """With a log, a status and checkpoints; the first process tells, looks and writes."""
    plan, first = around.plan, around.together.rank == 0
    settings = settings_of(plan)
    about = {"stage": plan.name, "settings": settings, "label_map": plan.faces.label_map.hash}
    with ExitStack() as stack:
        log = Log(plan.work_folder, plan.name, run.step, plan.total_steps) if first else Quiet()
        stack.enter_context(log)
        if first:
            stack.enter_context(told_status(plan.work_folder, run, plan.total_steps))
        stack.enter_context(lost_process_told(around.together))
        validator = make_validator(plan, log, run.objective)

        def save() -> None:
            checkpoints.save(run, about | {"metrics": validator.last})

        def validate() -> None:
            if first:
                validator.look(run.step, with_mean(run.model, run.ema))
            if is_best(run, validator.last):
                save()

        train(run, replace(around, validate=validate, save=save), log)
        if first and not validator.last:  # an earlier sitting did the last step and no more
            validator.look(run.step, with_mean(run.model, run.ema))
        machine = machine_summary(around.timer, around.device, around.together.world)
        write_stage_head(plan, run)
        if first:
            write_results(plan, run, settings, validator.last, machine)
    print(f"stage {plan.name!r}: {in_words(machine)}")
    if run.bad:
        print(f"stage {plan.name!r}: {len(run.bad)} bad records skipped; the last: {run.bad[-1]}")


def _say_what_trains(
    plan: StagePlan, run: Training, device: torch.device, together: Together
) -> None:
    shared = f", {together.world} processes" if together.world > 1 else ""
    print(
        f"stage {plan.name!r}: {plan.faces.num_classes} {plan.noun}, {len(plan.faces)} images, "
        f"{plan.total_steps} steps of {plan.stage.batch_size} images, {run.precision} on {device}"
        f"{shared}"
    )
    if together.world > 1 and not (plan.stage.freeze_bn or plan.stage.sync_bn):
        images = _pass_size(plan, together)
        print(
            f"stage {plan.name!r}: batch norm sees {images} images at a time, each process its own"
        )
    if plan.faces.excluded:
        print(f"stage {plan.name!r}: {plan.faces.excluded}")
    if plan.cache_is_off:
        print(f"stage {plan.name!r}: teacher cache {plan.cache_is_off}")


def _pass_size(plan: StagePlan, together: Together) -> int:
    """Images of one forward pass in one process."""
    return plan.stage.batch_size // (together.world * plan.stage.accumulate)
