"""Whether a stage's loss, data, teacher and heads fit together, told before anything is trained."""

import os
from collections.abc import Mapping

import numpy as np

from facekd.distill.term import refuse_whole_heads
from facekd.errors import FacekdError
from facekd.heads.partial_fc import class_range
from facekd.train.sources import find_head, load_fitting_head, locate
from facekd.train.stage_plan import TEACHER_NEEDS, StagePlan


def check_plan(plan: StagePlan, earlier: Mapping[str, StagePlan]) -> None:
    """Make sure that a stage's loss, data, teacher and heads fit together.

    Args:
        plan: The stage.
        earlier: The stages before it, by name.

    Raises:
        FacekdError: What does not fit, and what to do.
    """
    _check_labels(plan)
    _check_task(plan)
    _check_teacher(plan, earlier)
    _check_cache(plan)
    _check_balance(plan)
    _check_head(plan, earlier)
    _check_partial_fc(plan)


def _check_teacher(plan: StagePlan, earlier: Mapping[str, StagePlan]) -> None:
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


def _check_task(plan: StagePlan) -> None:
    share = plan.stage.validation.teacher_head
    if not plan.classes:
        if share:
            raise FacekdError(
                "validation.teacher_head is the share of a head in class probabilities, and faces "
                "are told apart by their embeddings; leave it out."
            )
        return
    heads = plan.needs & {"student_head", "teacher_head"}
    if not heads:
        raise FacekdError(
            "task: classification, but its loss trains no classifier and reads no teacher's; add "
            "a term that does, such as {term: margin, margin: softmax}."
        )
    if plan.stage.partial_fc is not None:
        raise FacekdError(
            "partial_fc is for very many identities, and task: classification reads its classifier "
            "whole; leave partial_fc out."
        )
    if share and "teacher_head" not in plan.needs:
        raise FacekdError(
            f"validation.teacher_head={share:g} asks for the teacher's head, which its loss does "
            "not read; leave it out, or use a loss that does, such as kdth."
        )


def _check_head(plan: StagePlan, earlier: Mapping[str, StagePlan]) -> None:
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
