"""What a recipe will do, worked out and checked before anything is trained.

`plan_recipe` answers every question that does not need a trained network: how many classes and
images, which heads fit, what each loss needs and who provides it. `facekd-train --check` prints
it; training starts from it. A mistake is told here, before the first step.
"""

from pathlib import Path

from facekd.backbones import count
from facekd.data.classes import load_classes
from facekd.data.faces import FaceSet, load_faces
from facekd.distill.presets import expand
from facekd.distill.term import Need, build_terms
from facekd.errors import FacekdError
from facekd.recipe import Recipe, Stage
from facekd.train.distributed import check_batch
from facekd.train.plan_checks import check_plan
from facekd.train.sources import initial_model, open_teacher
from facekd.train.stage_plan import StagePlan


def plan_recipe(recipe: Recipe) -> list[StagePlan]:
    """Check every stage of a recipe against its data, its teacher and its heads.

    Raises:
        FacekdError: What does not fit, in which stage, and what to do.
    """
    plans: dict[str, StagePlan] = {}
    loaded: dict[str, tuple[FaceSet, FaceSet | None]] = {}
    for name, stage in recipe.stages.items():
        try:
            plans[name] = _plan_stage(recipe, name, stage, plans, loaded)
        except FacekdError as error:
            where = recipe.where(("stages", name), str(error))
            where = where or recipe.where(("data",), str(error))
            raise FacekdError(f"{where}stage {name!r}: {error}") from error
    return list(plans.values())


def _plan_stage(
    recipe: Recipe,
    name: str,
    stage: Stage,
    earlier: dict[str, StagePlan],
    loaded: dict[str, tuple[FaceSet, FaceSet | None]],
) -> StagePlan:
    folder = Path(recipe.output)
    specs = expand(stage.loss, stage.margin)
    needs: frozenset[Need] = frozenset().union(*(t.needs for _, _, t in build_terms(specs)))
    model = initial_model(stage, folder, recipe.stages)
    size = model.preprocess.input_size
    data = stage.data or recipe.data
    key = f"{stage.task} {data!r} {size}"
    if key not in loaded:
        load = load_classes if stage.task == "classification" else load_faces
        loaded[key] = load(data, size)
    faces, holdout = loaded[key]
    if len(faces) < stage.batch_size:
        raise FacekdError(
            f"batch_size {stage.batch_size} is more than the {len(faces)} training images; "
            "lower it."
        )
    check_batch(stage)
    steps_per_epoch = len(faces) // stage.batch_size
    params, macs = count(model.backbone, size)
    teacher_dim, teacher_takes = _teacher(stage, folder, earlier, size)
    plan = StagePlan(
        name=name,
        stage=stage,
        seed=recipe.seed if stage.seed is None else stage.seed,
        folder=folder,
        cache=recipe.cache,
        data=data,
        faces=faces,
        holdout=holdout,
        specs=specs,
        needs=needs,
        backbone=model.backbone_name,
        embedding_dim=model.embedding_dim,
        input_size=size,
        params=params,
        macs=macs,
        teacher_dim=teacher_dim,
        teacher_takes=teacher_takes,
        steps_per_epoch=steps_per_epoch,
        total_steps=max(1, round(stage.schedule.epochs * steps_per_epoch)),
    )
    check_plan(plan, earlier)
    return plan


def _teacher(
    stage: Stage, folder: Path, earlier: dict[str, StagePlan], size: int
) -> tuple[int | None, str]:
    """`teacher_dim` and `teacher_takes` of a plan."""
    if stage.teacher is None:
        return None, ""
    takes = ""
    if stage.teacher.model in earlier:
        plan = earlier[stage.teacher.model]
        if (stage.teacher.input_range, stage.teacher.channels) != (None, None):
            raise FacekdError(
                f"teacher: stage {plan.name!r} knows its own input; leave input_range and channels "
                "out."
            )
        dim, teacher_size = plan.embedding_dim, plan.input_size
    else:
        teacher = open_teacher(stage.teacher, folder, "cpu")
        dim, teacher_size = teacher.embedding_dim, teacher.preprocess.input_size
        takes = teacher.preprocess.in_words
    if teacher_size != size:
        raise FacekdError(
            f"the teacher takes {teacher_size}-pixel images and the student {size}-pixel ones; "
            "both see the same batches: set model.input_size to the teacher's."
        )
    return dim, takes
