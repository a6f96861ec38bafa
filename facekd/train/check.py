"""`facekd-train --check` and `--list`: what a recipe would do, and what there is to choose from."""

from collections.abc import Sequence

import torch

from facekd.backbones import BACKBONES, USUAL_WIDTH, own_width
from facekd.distill.presets import PRESETS, expand
from facekd.distill.term import TERMS, BuiltTerm, build_terms
from facekd.files import in_bytes
from facekd.heads.margins import MARGINS
from facekd.recipe import Recipe, Stage, is_file
from facekd.recipe_file import shipped_recipes
from facekd.teacher.cache import cache_bytes
from facekd.train.build import pick_device
from facekd.train.plan import plan_recipe
from facekd.train.results import check_allowed, refuse_changes
from facekd.train.sources import find_head
from facekd.train.stage_plan import StagePlan
from facekd.train.subcentres import far_path
from facekd.train.validate import check_validation

_FLOAT = 4
_NEEDS = {"position": "sample index"}


def check(recipe: Recipe, allow_changed: Sequence[str] = ()) -> str:
    """Stages, classes, parameters, memory, disk and cache sizes of a recipe, as text.

    Args:
        recipe: The recipe.
        allow_changed: Dotted keys of settings in which a stage that was begun may differ.

    Raises:
        FacekdError: Whatever would stop the training before its first step.
    """
    plans = plan_recipe(recipe)
    check_allowed(plans, allow_changed)
    blocks = [f"run folder {recipe.output}, seed {recipe.seed}"]
    for plan in plans:
        refuse_changes(plan, allow_changed)
        check_validation(plan)
        blocks.append("\n".join(_stage_lines(plan)))
    blocks.append("The recipe is sound; nothing was trained.")
    return "\n\n".join(blocks)


def _stage_lines(plan: StagePlan) -> list[str]:
    stage, faces = plan.stage, plan.faces
    start = f", starting from {stage.start_from}" if stage.start_from else ""
    lines = [
        f"stage {plan.name}",
        f"  data      {plan.data.named}: {faces.num_classes} {plan.noun}, {len(faces)} images"
        + _held_back(plan),
        *([f"  exclude   {faces.excluded}"] if faces.excluded else []),
        f"  network   {plan.backbone}, {plan.embedding_dim}-d, {plan.input_size} px: "
        f"{plan.params / 1e6:.3f} M parameters, {plan.macs / 1e9:.3f} GMAC{start}",
        f"  loss      {_describe_loss(plan)}",
        *_teacher_lines(plan),
        *_head_lines(plan),
        f"  schedule  {plan.total_steps} steps of {stage.batch_size} images{_passes(stage)} "
        f"({stage.schedule.epochs:g} epochs of {plan.steps_per_epoch}), {stage.optimizer.name}, "
        f"lr {stage.optimizer.lr:g}, {stage.schedule.decay}",
    ]
    weights, logits, disk = _sizes(plan)
    lines.append(
        f"  memory    {in_bytes(weights)} for weights, gradients and optimizer, {in_bytes(logits)} "
        f"for logits, on {pick_device(stage)}; activations come on top"
    )
    most = _checkpoints(stage)
    lines.append(f"  disk      {in_bytes(disk)} for the results and at most {most} checkpoints")
    if plan.uses_cache and plan.teacher_dim:
        size = cache_bytes(len(faces), 2 * plan.kept.drawings, plan.teacher_dim)
        lines.append(f"  cache     {in_bytes(size)} of teacher embeddings in {plan.cache_folder}")
    if plan.cache_is_off:
        lines.append(f"  cache     {plan.cache_is_off}")
    return lines


def _held_back(plan: StagePlan) -> str:
    if plan.holdout is None:
        return ""
    if plan.classes:
        return f"; {len(plan.holdout)} validation images"
    return f"; {plan.holdout.num_classes} people held back"


def _passes(stage: Stage) -> str:
    return f" in {stage.accumulate} passes" if stage.accumulate > 1 else ""


def _describe_loss(plan: StagePlan) -> str:
    return " + ".join(f"{weight:g} {name}" for name, weight, _ in plan.terms())


def _head_lines(plan: StagePlan) -> list[str]:
    head = plan.stage.head
    partial, spread = plan.stage.partial_fc, list[str]()
    if partial is not None:
        share = f"{partial.sample_rate:g} of them" if partial.sample_rate < 1 else "all"
        spread = [f"  classes   spread over the processes, {share} in a step"]
    if head is None:
        return spread
    if head.source is None:
        far = far_path(plan.model_path)
        return [
            f"  head      {head.centres} centres a class; {far} will list the images "
            f"{head.drop_degrees:g} degrees or more from their class's dominant one"
        ]
    return [f"  head      from {head.source}, {'frozen' if head.frozen else 'learning'}", *spread]


def _teacher_lines(plan: StagePlan) -> list[str]:
    teacher = plan.stage.teacher
    if teacher is None:
        return []
    line = f"  teacher   {teacher.model}, {plan.teacher_dim}-d"
    if plan.teacher_takes:
        line += f", takes {plan.teacher_takes}"
    if "teacher_head" in plan.needs:
        found = not is_file(teacher.model) and teacher.head == "auto"
        found = found or find_head(teacher, plan.folder) is not None
        line += ", its own classifier" if found else ", classifier rebuilt from class means"
    if plan.needs_projector:
        line += f"; a projector {plan.embedding_dim} -> {plan.teacher_dim}"
    return [line]


def _sizes(plan: StagePlan) -> tuple[int, int, int]:
    """Bytes: weights + gradients + optimizer; logits + their gradients; checkpoints + results."""
    classes = plan.faces.num_classes
    states = 2 if plan.stage.optimizer.name == "adamw" else 1
    learning = plan.params
    frozen = 0
    if "student_head" in plan.needs:
        size = classes * plan.centres * plan.embedding_dim
        head = plan.stage.head
        is_frozen = head is not None and head.source is not None and head.frozen
        learning, frozen = (learning, size) if is_frozen else (learning + size, 0)
    if "teacher_head" in plan.needs:
        frozen += classes * (plan.teacher_dim or 0)
    partial = plan.stage.partial_fc
    heads = plan.centres * ("student_head" in plan.needs) + ("teacher_head" in plan.needs)
    seen = classes if partial is None else round(classes * partial.sample_rate)
    logits = 2 * heads * plan.stage.batch_size // plan.stage.accumulate * seen
    mean = plan.params if plan.stage.ema else 0
    checkpoint = learning * (1 + states) + frozen + mean
    results = plan.params + (classes * plan.centres * plan.embedding_dim if heads else 0)
    weights = learning * (2 + states) + frozen + mean
    disk = _checkpoints(plan.stage) * checkpoint + results
    return weights * _FLOAT, logits * _FLOAT, disk * _FLOAT


def _checkpoints(stage: Stage) -> int:
    """Those on the disk at once: the last ones, the best, and the one being written."""
    return stage.keep_checkpoints + bool(stage.validation.benches) + 1


def list_everything() -> str:
    """Shipped recipes, methods with what each needs, margins and backbones, as text."""
    lines = ["recipes (facekd-train NAME):"]
    lines += [f"  {name:28} {_description(name)}" for name in shipped_recipes()]
    lines += ["", "losses (loss: NAME, or {preset: NAME, ...}):"]
    for name in PRESETS:
        needs = _needs(build_terms(expand(name)))
        lines.append(f"  {name:20} {PRESETS[name].summary}  {needs}  [{PRESETS[name].paper}]")
    lines += ["", "terms (loss: [{term: NAME, weight: 1.0, ...}, ...]):"]
    for name in TERMS:
        needs = _needs(build_terms([{"term": name}]))
        lines.append(f"  {name:20} {TERMS[name].summary()}  {needs}  [{TERMS[name].paper}]")
    lines += ["", "margins (margin: NAME in a loss with a margin softmax; softmax: without one):"]
    lines += [f"  {name:20} {MARGINS[name].summary()}  [{MARGINS[name].paper}]" for name in MARGINS]
    lines += ["", "backbones:"]
    with torch.device("meta"):
        for name in BACKBONES:
            network = BACKBONES[name]()
            params = sum(p.numel() for p in network.parameters())
            at = f"{own_width(network)}-d" if own_width(network) else f"at {USUAL_WIDTH}-d"
            also = ", ".join(BACKBONES.aliases(name))
            lines.append(f"  {name:20} {params / 1e6:7.3f} M {at:>9}  {also}".rstrip())
    lines.append("  torchvision/NAME     any of torchvision's classifiers, such as resnet50")
    return "\n".join(lines)


def _needs(terms: list[BuiltTerm]) -> str:
    """What a loss asks of the stage, in words."""
    needs = {need for _, _, term in terms for need in term.needs} - {"projector"}
    return "needs " + ", ".join(sorted(_NEEDS.get(n, n.replace("_", " ")) for n in needs))


def _description(name: str) -> str:
    text = shipped_recipes()[name].read_text(encoding="utf-8")
    for line in text.splitlines():
        if line.startswith("description:"):
            return line.removeprefix("description:").strip().strip("\"'")
    return ""
