"""What a recipe will do, worked out and checked before anything is trained.

`plan_recipe` answers every question that does not need a trained network: how many classes and
images, which heads fit, what each loss needs and who provides it. `facekd-train --check` prints
it; training starts from it. A mistake is told here, before the first step.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from facekd.backbones import count
from facekd.data.augment import Augment
from facekd.data.faces import FaceSet, load_faces
from facekd.distill.presets import expand
from facekd.distill.term import BuiltTerm, Need, Sizes, build_terms, refuse_whole_heads
from facekd.errors import FacekdError
from facekd.heads.partial_fc import class_range
from facekd.recipe import Cache, Data, Recipe, Stage
from facekd.train.distributed import check_batch
from facekd.train.sources import (
    find_head,
    initial_model,
    load_fitting_head,
    locate,
    open_teacher,
)

TEACHER_NEEDS: frozenset[Need] = frozenset({"teacher_head", "teacher_embeddings", "feature_maps"})


@dataclass(frozen=True)
class StagePlan:
    """One stage, checked.

    Attributes:
        name: Its name in the recipe.
        stage: Its settings.
        seed: Fixes weights, order and mirroring.
        folder: The run folder; results are `<folder>/<name>.pt` and neighbours.
        cache: Whether and where teachers' embeddings are kept.
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
    cache: Cache
    data: Data
    faces: FaceSet
    holdout: FaceSet | None
    specs: list[dict[str, Any]]
    needs: frozenset[Need]
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
    def work_folder(self) -> Path:
        """Where the stage keeps its log and its state while it trains."""
        return self.folder / self.name

    @property
    def needs_projector(self) -> bool:
        """Whether student embeddings must be brought to the teacher's width."""
        return "projector" in self.needs and self.teacher_dim not in (None, self.embedding_dim)

    @property
    def leaves_head(self) -> bool:
        """Whether the finished stage leaves a classifier that reads its embeddings."""
        if "student_head" in self.needs:
            return True
        return "teacher_head" in self.needs and self.teacher_dim == self.embedding_dim

    @property
    def centres(self) -> int:
        """Centres that each class of the student's head has."""
        return self.stage.head.centres if self.stage.head else 1

    @property
    def uses_cache(self) -> bool:
        """Whether the teacher's embeddings are computed once, ahead of training."""
        teacher = self.stage.teacher
        if teacher is None or not self.needs & TEACHER_NEEDS:
            return False
        rebuilt = "teacher_head" in self.needs and find_head(teacher, self.folder) is None
        return rebuilt or self.reads_cache

    @property
    def reads_cache(self) -> bool:
        """Whether each step takes the teacher's embeddings from the cache, not from the teacher."""
        return self._asks_each_step and self.cache.mode != "never" and not self.why_no_cache

    @property
    def why_no_cache(self) -> str:
        """What this stage asks of its teacher that cannot be kept, in words; "" where all can."""
        if "feature_maps" in self.needs:
            return "its loss reads the teacher's feature maps"
        if self.augment.looks is None:
            return "data.crop and data.colour give every image a new look at every step"
        return ""

    @property
    def cache_is_off(self) -> str:
        """Why each step asks the teacher although a cache would do by default; "" otherwise."""
        wanted = self._asks_each_step and self.cache.mode != "never"
        if not wanted or not self.why_no_cache:
            return ""
        return f"off: {self.why_no_cache}, so the teacher runs at every step{self.views_remedy}"

    @property
    def views_remedy(self) -> str:
        """What would keep the embeddings although crops and colours are drawn; "" if nothing."""
        if "feature_maps" in self.needs or self.augment.looks is not None:
            return ""
        return "; cache.views=8 would keep eight drawings of each image"

    @property
    def cache_folder(self) -> Path:
        """Where teachers' embeddings lie."""
        return Path(self.cache.dir) if self.cache.dir else self.folder / "cache"

    @property
    def augment(self) -> Augment:
        """What happens to the images before the network sees them.

        `cache.views` counts only where the teacher's embeddings are asked for and could be kept:
        nobody else is to see fewer drawings for it.
        """
        keeps = self._asks_each_step and "feature_maps" not in self.needs
        return Augment.of(self.data, self.cache.views if keeps else 1)

    @property
    def kept(self) -> Augment:
        """What the cached embeddings are of; class means need no more than mirroring."""
        return self.augment if self.reads_cache else Augment()

    @property
    def _asks_each_step(self) -> bool:
        asked = self.needs & {"teacher_embeddings", "feature_maps"}
        return self.stage.teacher is not None and bool(asked)

    def terms(self, sizes: Sizes | None = None) -> list[BuiltTerm]:
        """Fresh terms of the loss; with the stage's sizes, ready to train."""
        return build_terms(self.specs, sizes)


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
    specs = expand(stage.loss)
    needs: frozenset[Need] = frozenset().union(*(t.needs for _, _, t in build_terms(specs)))
    model = initial_model(stage, folder, recipe.stages)
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
    check_batch(stage)
    steps_per_epoch = len(faces) // stage.batch_size
    params, macs = count(model.backbone, size)
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
        teacher_dim=_teacher_dim(stage, folder, earlier, size),
        steps_per_epoch=steps_per_epoch,
        total_steps=max(1, round(stage.schedule.epochs * steps_per_epoch)),
    )
    _check_labels(plan)
    _check_teacher(plan, earlier)
    _check_cache(plan)
    _check_balance(plan)
    _check_head(plan, earlier)
    _check_partial_fc(plan)
    return plan


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
    if not missing:
        raise FacekdError(
            "it names a teacher, but its loss asks nothing of one; choose a loss that does, such "
            "as th_kd or l2e, or leave the teacher out."
        )
    if "feature_maps" in plan.needs and teacher.model.lower().endswith(".onnx"):
        raise FacekdError(
            "its loss reads the teacher's feature maps, and an .onnx file shows only embeddings; "
            "use a .pt or .params file, or a loss without feature maps."
        )
    if "teacher_head" not in plan.needs:
        return
    if teacher.model in earlier and teacher.head == "auto":
        _same_classes(plan, earlier[teacher.model], "teacher")
        return
    path = find_head(teacher, plan.folder)
    if path is not None:
        load_fitting_head(path, plan.faces.label_map, plan.teacher_dim or 0, "teacher.head")


def _check_cache(plan: StagePlan) -> None:
    if plan.cache.mode == "require" and plan.cache_is_off:
        raise FacekdError(
            f"cache.mode=require cannot be: {plan.why_no_cache}{plan.views_remedy}; or use "
            "cache.mode=auto."
        )


def _check_balance(plan: StagePlan) -> None:
    wanted = plan.stage.balance.images_per_identity
    if wanted == 1 and "several images of an identity" in plan.needs:
        raise FacekdError(
            "its loss compares images of one person within a batch, and here they meet by chance "
            "only; set balance={images_per_identity: 4}, or share: 0.5 for half of every batch."
        )
    if wanted > 1 and plan.stage.batch_size * plan.stage.balance.share < 2 * wanted:
        raise FacekdError(
            f"balance: {wanted} images of a person, in {plan.stage.balance.share:g} of a batch of "
            f"{plan.stage.batch_size}, leave no room for two people; raise batch_size."
        )
    labels = plan.faces.labels
    if wanted > 1 and np.bincount(labels[labels >= 0], minlength=1).max() < 2:
        raise FacekdError("balance: nobody in the data has two images; leave balance out.")


def _check_labels(plan: StagePlan) -> None:
    missing = sorted(plan.needs & {"labels", "student_head", "teacher_head"})
    if missing and plan.faces.num_classes < 2:
        raise FacekdError(
            f"its loss needs {' and '.join(m.replace('_', ' ') for m in missing)}, and the data "
            f"have {plan.faces.num_classes} identities; give labelled images too (data.source), or "
            "use a loss without labels, such as {preset: l2e, classification: 0}."
        )


def _check_head(plan: StagePlan, earlier: dict[str, StagePlan]) -> None:
    head = plan.stage.head
    if "several centres of a class" in plan.needs and plan.centres == 1:
        raise FacekdError(
            "its loss is for a head with several centres a class; add head: {centres: 3}."
        )
    if head is None:
        return
    if "student_head" not in plan.needs:
        raise FacekdError(
            "its loss reads no student head, so `head` would do nothing; leave it out, or give the "
            "loss a margin on the student's head."
        )
    if head.source is None:
        _check_centres(plan)
        return
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
    load_fitting_head(path, plan.faces.label_map, plan.embedding_dim, "head")


def _check_partial_fc(plan: StagePlan) -> None:
    if plan.stage.partial_fc is None:
        return
    if not plan.needs & {"student_head", "teacher_head"}:
        raise FacekdError(
            "its loss reads no head, so partial_fc would do nothing; leave partial_fc out."
        )
    if plan.centres > 1:
        raise FacekdError(
            f"partial_fc is for one centre a class, and head.centres is {plan.centres}; leave one "
            "of them out."
        )
    refuse_whole_heads(plan.terms())
    class_range(plan.faces.num_classes, 0, int(os.environ.get("WORLD_SIZE", "1")))


def _check_centres(plan: StagePlan) -> None:
    linear = [name for name, _, term in plan.terms() if term.linear]
    if linear:
        raise FacekdError(
            f"head.centres={plan.centres} gives cosines, and {linear[0]!r} reads linear logits; "
            "use a margin on cosines, or one centre."
        )


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
