"""What a recipe will do, worked out and checked before anything is trained.

`plan_recipe` answers every question that does not need a trained network: how many classes and
images, which heads fit, what each loss needs and who provides it. `facekd-train --check` prints
it; training starts from it. A mistake is told here, before the first step.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facekd.backbones import BACKBONES
from facekd.backbones.common import count
from facekd.data.faces import FaceSet, load_faces
from facekd.distill.presets import expand
from facekd.distill.term import BuiltTerm, build_terms
from facekd.embedder import Embedder
from facekd.errors import FacekdError
from facekd.heads.classifier import Classifier, load_head
from facekd.model import FaceModel, load_model
from facekd.recipe import Data, Network, Recipe, Stage, Teacher, is_file

TEACHER_NEEDS = frozenset({"teacher_head", "teacher_embeddings"})


@dataclass(frozen=True)
class StagePlan:
    """One stage, checked.

    Attributes:
        name: Its name in the recipe.
        stage: Its settings.
        seed: Fixes weights, order and mirroring.
        folder: The run folder; results are `<folder>/<name>.pt` and neighbours.
        cache_folder: Where teachers' embeddings lie.
        data: The stage's data settings.
        faces: Training images.
        holdout: People held back, or None.
        specs: The loss, presets expanded.
        needs: What its terms ask for.
        backbone: The network's full name.
        embedding_dim: Width of this stage's embeddings.
        input_size: Side of its input, pixels.
        params: Number of the backbone's parameters.
        macs: Multiply-accumulates of one forward pass.
        teacher_dim: Width of the teacher's embeddings; None without a teacher.
        steps_per_epoch: Steps in one pass over the images.
        total_steps: Steps of the whole stage.
    """

    name: str
    stage: Stage
    seed: int
    folder: Path
    cache_folder: Path
    data: Data
    faces: FaceSet
    holdout: FaceSet | None
    specs: list[dict[str, Any]]
    needs: frozenset[str]
    backbone: str
    embedding_dim: int
    input_size: int
    params: int
    macs: int
    teacher_dim: int | None
    steps_per_epoch: int
    total_steps: int

    @property
    def model_path(self) -> Path:
        """Where the finished network goes."""
        return self.folder / f"{self.name}.pt"

    @property
    def needs_projector(self) -> bool:
        """Whether student embeddings must be brought to the teacher's width."""
        return (
            bool(self.needs & TEACHER_NEEDS)
            and self.teacher_dim is not None
            and self.teacher_dim != self.embedding_dim
        )

    @property
    def leaves_head(self) -> bool:
        """Whether the finished stage leaves a classifier that reads its embeddings."""
        if "student_head" in self.needs:
            return True
        return "teacher_head" in self.needs and self.teacher_dim == self.embedding_dim

    @property
    def uses_cache(self) -> bool:
        """Whether the teacher's embeddings are computed once, ahead of training."""
        teacher = self.stage.teacher
        if teacher is None or not self.needs & TEACHER_NEEDS:
            return False
        rebuilt = "teacher_head" in self.needs and find_head(teacher, self.folder) is None
        return rebuilt or ("teacher_embeddings" in self.needs and teacher.cache == "auto")

    def terms(self) -> list[BuiltTerm]:
        """Fresh terms of the loss."""
        return build_terms(self.specs)


def head_path(model: Path) -> Path:
    """Where a network's classifier lies: beside it."""
    return model.with_suffix(".head.safetensors")


def locate(source: str, folder: Path) -> Path:
    """The file behind a `teacher`, `head` or `start_from`: a path, or an earlier stage's result."""
    return Path(source).expanduser() if is_file(source) else folder / f"{source}.pt"


def find_head(teacher: Teacher, folder: Path) -> Path | None:
    """The file of the teacher's classifier, or None where it is rebuilt as class means.

    Raises:
        FacekdError: The recipe names a head file, and there is none.
    """
    if teacher.head == "rebuild":
        return None
    if teacher.head != "auto":
        path = Path(teacher.head).expanduser()
        if not path.is_file():
            raise FacekdError(
                f"teacher.head: {path} does not exist; name a .head.safetensors file, or use "
                "rebuild for class means of the teacher's embeddings."
            )
        return path
    beside = head_path(locate(teacher.model, folder))
    return beside if not is_file(teacher.model) or beside.is_file() else None


def open_teacher(settings: Teacher, folder: Path, device: str) -> Embedder:
    """Load a teacher network.

    Raises:
        FacekdError: As `facekd.load_model`.
    """
    path = locate(settings.model, folder)
    return load_model(
        path, input_range=settings.input_range, channels=settings.channels, device=device
    )


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
            raise FacekdError(f"stage {name!r}: {error}") from error
    return list(plans.values())


def _plan_stage(
    recipe: Recipe,
    name: str,
    stage: Stage,
    earlier: dict[str, StagePlan],
    loaded: dict[str, tuple[FaceSet, FaceSet | None]],
) -> StagePlan:
    folder = Path(recipe.output)
    specs = expand(stage.loss)
    needs: frozenset[str] = frozenset().union(*(t.needs for _, _, t in build_terms(specs)))
    model = initial_model(stage, folder, earlier)
    size = model.preprocess.input_size
    data = stage.data or recipe.data
    key = f"{data!r} {size}"
    if key not in loaded:
        loaded[key] = load_faces(data, size)
    faces, holdout = loaded[key]
    if len(faces) < stage.batch_size:
        raise FacekdError(
            f"batch_size {stage.batch_size} is more than the {len(faces)} training images; "
            "lower it."
        )
    steps_per_epoch = len(faces) // stage.batch_size
    params, macs = count(model.backbone, size)
    plan = StagePlan(
        name=name,
        stage=stage,
        seed=recipe.seed if stage.seed is None else stage.seed,
        folder=folder,
        cache_folder=Path(recipe.cache_dir) if recipe.cache_dir else folder / "cache",
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
        teacher_dim=_teacher_dim(stage, folder, earlier, size),
        steps_per_epoch=steps_per_epoch,
        total_steps=max(1, round(stage.schedule.epochs * steps_per_epoch)),
    )
    _check_teacher(plan, earlier)
    _check_head(plan, earlier)
    return plan


def initial_model(stage: Stage, folder: Path, earlier: dict[str, StagePlan]) -> FaceModel:
    """The network a stage begins with: new, or the one that `start_from` names.

    While that one is a stage still to be trained, a new network of its shape stands for it.

    Raises:
        FacekdError: An unknown backbone or argument, or `start_from` and `model` disagree.
    """
    settings = stage.model
    if stage.start_from is None:
        return _new_model(settings)
    path = locate(stage.start_from, folder)
    model: Embedder
    if not path.is_file() and stage.start_from in earlier:
        model = initial_model(earlier[stage.start_from].stage, folder, earlier)
    else:
        model = load_model(path)
    if not isinstance(model, FaceModel):
        raise FacekdError(f"start_from: {path} holds no weights that can be trained on.")
    has = {
        "backbone": model.backbone_name,
        "embedding_dim": model.embedding_dim,
        "input_size": model.preprocess.input_size,
    }
    wishes = {key: getattr(settings, key) for key in settings.model_fields_set & has.keys()}
    wishes |= settings.args
    has |= {key: model.description["backbone"]["kwargs"].get(key) for key in settings.args}
    for key, wanted in wishes.items():
        found = has[key]
        if wanted != found and not (key == "backbone" and BACKBONES.canonical(wanted) == found):
            raise FacekdError(
                f"start_from: {path} has {key} {found!r}, but model.{key} says {wanted!r}; "
                "leave that key out or change it."
            )
    return model


def _new_model(settings: Network) -> FaceModel:
    own = settings.args.keys() & {"name", "embedding_dim", "input_size", "input_range", "channels"}
    if own:
        raise FacekdError(
            f"model.args: {min(own)!r} is no argument of the backbone; arguments are such as "
            "width: 0.5."
        )
    try:
        return FaceModel.create(
            settings.backbone,
            embedding_dim=settings.embedding_dim,
            input_size=settings.input_size,
            **settings.args,
        )
    except (TypeError, RuntimeError) as error:  # a word for a number; more than the memory holds
        reason = str(error).splitlines()[0]
        raise FacekdError(
            f"model: {settings.backbone} cannot be built with {settings.model_dump()} ({reason})."
        ) from error


def _teacher_dim(
    stage: Stage, folder: Path, earlier: dict[str, StagePlan], size: int
) -> int | None:
    if stage.teacher is None:
        return None
    if stage.teacher.model in earlier:
        plan = earlier[stage.teacher.model]
        if stage.teacher.input_range is not None or stage.teacher.channels != "rgb":
            raise FacekdError(
                f"teacher: stage {plan.name!r} knows its own input; leave input_range and channels "
                "out."
            )
        dim, teacher_size = plan.embedding_dim, plan.input_size
    else:
        teacher = open_teacher(stage.teacher, folder, "cpu")
        dim, teacher_size = teacher.embedding_dim, teacher.preprocess.input_size
    if teacher_size != size:
        raise FacekdError(
            f"the teacher takes {teacher_size}-pixel images and the student {size}-pixel ones; "
            "both see the same batches: set model.input_size to the teacher's."
        )
    return dim


def _check_teacher(plan: StagePlan, earlier: dict[str, StagePlan]) -> None:
    missing = sorted(plan.needs & TEACHER_NEEDS)
    teacher = plan.stage.teacher
    if teacher is None:
        if missing:
            raise FacekdError(
                f"its loss needs {' and '.join(m.replace('_', ' ') for m in missing)}, and the "
                "stage names no teacher; add teacher: STAGE or teacher: {model: FILE}."
            )
        return
    if "teacher_head" not in plan.needs:
        return
    if teacher.model in earlier and teacher.head == "auto":
        _same_classes(plan, earlier[teacher.model], "teacher")
        return
    path = find_head(teacher, plan.folder)
    if path is not None:
        load_fitting_head(path, plan, plan.teacher_dim or 0, "teacher.head")


def _check_head(plan: StagePlan, earlier: dict[str, StagePlan]) -> None:
    head = plan.stage.head
    if head is None:
        return
    if "student_head" not in plan.needs:
        raise FacekdError(
            "its loss reads no student head, so `head` would do nothing; leave it out, or give the "
            "loss a margin on the student's head."
        )
    if head.source in earlier:
        source = earlier[head.source]
        _same_classes(plan, source, "head")
        if source.embedding_dim != plan.embedding_dim:
            raise FacekdError(
                f"head: stage {source.name!r} has embeddings {source.embedding_dim} wide, this "
                f"stage {plan.embedding_dim}; a shared classifier needs equal embedding_dim."
            )
        return
    path = locate(head.source, plan.folder)
    load_fitting_head(path, plan, plan.embedding_dim, "head")


def _same_classes(plan: StagePlan, source: StagePlan, what: str) -> None:
    ours, theirs = plan.faces.label_map, source.faces.label_map
    if not source.leaves_head:
        raise FacekdError(
            f"{what}: stage {source.name!r} trains no classifier of its own width that could be "
            "used here; give its loss a margin on the student's head, or use teacher.head: rebuild."
        )
    if ours.hash != theirs.hash:
        raise FacekdError(
            f"{what}: stage {source.name!r} was trained on other identities (label map "
            f"{theirs.hash}, {len(theirs)} classes) than this stage's data (label map {ours.hash}, "
            f"{len(ours)} classes), so its classifier says nothing here; give both stages the same "
            "data, or use teacher.head: rebuild."
        )


def load_fitting_head(path: Path, plan: StagePlan, width: int, what: str) -> Classifier:
    """Load a head file and make sure that it belongs to this stage's data and widths.

    Raises:
        FacekdError: It is missing, of another shape, or of another label map.
    """
    if path.suffix != ".safetensors":
        path = head_path(path)
    if not path.is_file():
        raise FacekdError(
            f"{what}: there is no {path}; name a .head.safetensors file that facekd-train saved, "
            "train the stage that leaves it, or use teacher.head: rebuild for class means."
        )
    head, label_map = load_head(path)
    if label_map != plan.faces.label_map.hash:
        raise FacekdError(
            f"{what}: {path} belongs to label map {label_map} ({head.num_classes} classes), but "
            f"the data's is {plan.faces.label_map.hash} ({plan.faces.num_classes} classes); use "
            "the head of a network trained on this very data, or teacher.head: rebuild."
        )
    if (head.num_classes, head.embedding_dim) != (plan.faces.num_classes, width):
        raise FacekdError(
            f"{what}: {path} is {head.num_classes} x {head.embedding_dim}, but "
            f"{plan.faces.num_classes} classes x {width} are needed here."
        )
    return head
