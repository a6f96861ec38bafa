"""From a checked plan to the objects that train: network, heads, teacher, optimizer."""

import torch

from facekd import ranks
from facekd.backbones.taps import stage_channels
from facekd.data.loader import BadRecords
from facekd.distill.objective import Objective, Projector
from facekd.distill.term import Head, Sizes
from facekd.embedder import Embedder
from facekd.errors import FacekdError
from facekd.eval.together import Together
from facekd.fingerprint import file_fingerprint
from facekd.heads.classifier import Classifier
from facekd.heads.drawn_rows import step_drawn_rows_alone
from facekd.heads.partial_fc import ShardedClassifier
from facekd.model import FaceModel
from facekd.recipe import Stage
from facekd.teacher.cache import EmbeddingCache, open_cache
from facekd.teacher.centres import class_centres
from facekd.train.checkpoint import Training
from facekd.train.distributed import seed_this_process, sync_batch_norm
from facekd.train.ema import start_mean
from facekd.train.precision import settle_precision
from facekd.train.schedule import make_optimizer
from facekd.train.sources import (
    find_head,
    initial_model,
    load_fitting_head,
    locate,
    open_teacher,
)
from facekd.train.stage_plan import TEACHER_NEEDS, StagePlan


def pick_device(stage: Stage) -> torch.device:
    """The device a stage asks for; `auto` is CUDA where there is one.

    Raises:
        FacekdError: `cuda` is asked for and there is none.
    """
    if stage.device == "cuda" and not torch.cuda.is_available():
        raise FacekdError("device: cuda is asked for, but torch sees no CUDA device here.")
    if stage.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(stage.device)


def build_teacher(
    plan: StagePlan, device: torch.device, together: Together | None = None
) -> tuple[Embedder | None, EmbeddingCache | None, Classifier | None]:
    """What the loss needs of the teacher: (network for every step, cache, head), or None each.

    Args:
        plan: The stage.
        device: Where it trains.
        together: The processes that share the work of filling the cache; None: only this one.

    Raises:
        FacekdError: The teacher cannot be read, or its head does not fit the data.
    """
    settings = plan.stage.teacher
    if settings is None or not plan.needs & TEACHER_NEEDS:
        return None, None, None
    teacher = cache = head = None
    if plan.uses_cache or plan.needs & {"teacher_embeddings", "feature_maps"}:
        teacher = open_teacher(settings, plan.folder, str(device))
    if plan.uses_cache and teacher is not None:
        weights = file_fingerprint(locate(settings.model, plan.folder))
        data = plan.data
        bad = BadRecords(data.on_bad_record, data.max_bad, len(plan.faces))
        cache = open_cache(
            teacher, weights, plan.faces, plan.cache_folder, bad, plan.kept, data.workers, together
        )
    if "teacher_head" in plan.needs:
        path = find_head(settings, plan.folder)
        if path is not None:
            head = load_fitting_head(
                path, plan.faces.label_map, plan.teacher_dim or 0, "teacher.head"
            )
        elif cache is not None:
            head = class_centres(cache, plan.faces)
    if "feature_maps" in plan.needs:
        _stages_of(teacher)
    if plan.reads_cache:
        return None, cache, head
    every_step = plan.needs & {"teacher_embeddings", "feature_maps"}
    return (teacher if every_step else None), None, head


def _stages_of(teacher: Embedder | None) -> dict[int, int]:
    """Channels of the teacher's feature maps by stage.

    Raises:
        FacekdError: They cannot be read.
    """
    found = (
        stage_channels(teacher.backbone, teacher.preprocess.input_size)
        if isinstance(teacher, FaceModel)
        else {}
    )
    if not found:
        raise FacekdError(
            "the loss reads the teacher's feature maps, and this teacher shows only its "
            "embeddings; use a .pt, .params or .safetensors file of a network that facekd knows."
        )
    return found


def build_training(
    plan: StagePlan,
    device: torch.device,
    teacher: Embedder | None,
    teacher_head: Classifier | None,
    precision: str | None,
) -> Training:
    """Network, objective and optimizer at step 0; the plan's seed fixes every random number.

    Args:
        plan: The stage.
        device: Where it trains.
        teacher: The network that is asked at every step, or None.
        teacher_head: The teacher's classifier, where the loss needs one.
        precision: What an earlier sitting settled on; None settles it now.
    """
    torch.manual_seed(plan.seed)
    model = initial_model(plan.stage, plan.folder, {}).to(device)
    if plan.stage.channels_last:
        model = model.to(memory_format=torch.channels_last)
    projector = None
    if plan.needs_projector and plan.teacher_dim is not None:
        projector = Projector(plan.embedding_dim, plan.teacher_dim)
    maps = "feature_maps" in plan.needs
    sizes = Sizes(
        num_images=len(plan.faces),
        num_classes=plan.faces.num_classes,
        student_dim=plan.embedding_dim,
        teacher_dim=plan.teacher_dim,
        student_channels=stage_channels(model.backbone, plan.input_size) if maps else {},
        teacher_channels=_stages_of(teacher) if maps else {},
    )
    terms = plan.terms(sizes)
    of_teacher = None if teacher_head is None else _spread(plan, teacher_head)
    objective = Objective(terms, _student_head(plan), of_teacher, projector).to(device)
    if plan.stage.sync_bn and ranks.world() > 1:
        model, objective = sync_batch_norm(model), sync_batch_norm(objective)
    optimizer, parameters = make_optimizer((model, objective), plan.stage.optimizer)
    step_drawn_rows_alone(optimizer)
    if precision is None:
        settled = settle_precision(plan.stage.precision, device, model, plan.input_size)
        precision = ranks.of_first(settled)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
    mean = start_mean(model) if plan.stage.ema else None
    seed_this_process(plan.seed)
    return Training(
        model,
        objective,
        optimizer,
        parameters,
        scaler,
        precision,
        ema=mean,
        sharded=_sharded(objective),
    )


def _student_head(plan: StagePlan) -> Head | None:
    if "student_head" not in plan.needs:
        return None
    wanted = plan.stage.head
    if wanted is None or wanted.source is None:
        bias = any(term.linear for _, _, term in plan.terms())
        classes, partial = plan.faces.num_classes, plan.stage.partial_fc
        if partial is not None:
            return ShardedClassifier(classes, plan.embedding_dim, bias, partial.sample_rate)
        head = Classifier(classes, plan.embedding_dim, bias, plan.centres)
        return head.redraw() if plan.classes and bias else head
    path = locate(wanted.source, plan.folder)
    head = load_fitting_head(path, plan.faces.label_map, plan.embedding_dim, "head")
    return _spread(plan, head if wanted.frozen else head.requires_grad_(True))


def _spread(plan: StagePlan, head: Classifier) -> Head:
    """This process's part of a head, where the stage asks for it; else the head."""
    partial = plan.stage.partial_fc
    return head if partial is None else ShardedClassifier.part_of(head, partial.sample_rate)


def _sharded(objective: Objective) -> dict[str, range]:
    """This process's classes in each tensor of a head that is spread, by its name in a step."""
    return {
        f"objective.{name}.{key}": head.rows
        for name, head in objective.named_children()
        if isinstance(head, ShardedClassifier)
        for key in head.state_dict()
    }
