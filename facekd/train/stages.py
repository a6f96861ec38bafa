"""Running a recipe: each stage once, in order, from where it stopped."""

from collections.abc import Sequence
from pathlib import Path

from facekd.recipe import Recipe, select_stages
from facekd.train.build import build_teacher, build_training, pick_device
from facekd.train.checkpoint import load_state, read_values, save_state
from facekd.train.log import Log
from facekd.train.loop import Around, train
from facekd.train.plan import StagePlan, plan_recipe
from facekd.train.results import (
    describe_run,
    is_finished,
    refuse_changes,
    settings_of,
    state_path,
    write_results,
)
from facekd.train.validate import Validator, check_validation


def run_recipe(recipe: Recipe, names: Sequence[str] = ()) -> list[Path]:
    """Train every stage that is not finished.

    Args:
        recipe: The recipe; the run folder keeps the whole of it.
        names: Train these stages only, and those they build on; empty: all.

    Returns:
        The networks' files, `<output>/<stage>.pt`, in the order of the stages.

    Raises:
        FacekdError: Bad input, or a run folder that belongs to another recipe.
        facekd.train.loop.Interrupted: A signal stopped it; everything is saved.
    """
    plans = plan_recipe(select_stages(recipe, names) if names else recipe)
    for plan in plans:
        refuse_changes(plan)
        check_validation(plan)
        pick_device(plan.stage)
    describe_run(recipe)
    for plan in plans:
        if is_finished(plan):
            print(f"stage {plan.name!r} is finished: {plan.model_path}")
        else:
            run_stage(plan)
    return [plan.model_path for plan in plans]


def run_stage(plan: StagePlan) -> None:
    """Train one stage to its end, from its checkpoint where there is one.

    Raises:
        FacekdError: As `facekd.train.loop.train`.
        facekd.train.loop.Interrupted: A signal stopped it; everything is saved.
    """
    device = pick_device(plan.stage)
    saved = state_path(plan)
    precision = str(read_values(saved)["precision"]) if saved.exists() else None
    teacher, cache, teacher_head = build_teacher(plan, device)
    run = build_training(plan, device, teacher, teacher_head, precision)
    if saved.exists():
        load_state(saved, run)
        print(f"stage {plan.name!r} goes on at step {run.step} of {plan.total_steps}")
    print(
        f"stage {plan.name!r}: {plan.faces.num_classes} identities, {len(plan.faces)} images, "
        f"{plan.total_steps} steps of {plan.stage.batch_size} images, {run.precision} on {device}"
    )
    if plan.faces.excluded:
        print(f"stage {plan.name!r}: {plan.faces.excluded}")
    if plan.cache_is_off:
        print(f"stage {plan.name!r}: teacher cache {plan.cache_is_off}")
    settings = settings_of(plan)
    with Log(saved.parent, plan.name, run.step, plan.total_steps) as log:
        validator = Validator(plan, run.model, log)
        around = Around(
            plan=plan,
            device=device,
            teacher=teacher,
            cache=cache,
            validate=lambda: validator.look(run.step),
            save=lambda: save_state(saved, run, settings),
        )
        train(run, around, log)
        if not validator.last:  # an earlier sitting did the last step and no more
            validator.look(run.step)
    write_results(plan, run, settings, validator.last)
    if run.bad:
        print(f"stage {plan.name!r}: {len(run.bad)} bad records skipped; the last: {run.bad[-1]}")
    print(f"stage {plan.name!r} is finished after {run.seconds / 60:.1f} min: {plan.model_path}")
