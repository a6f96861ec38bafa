"""The run folder: what it is compared with on resume, and what a finished stage leaves in it."""

import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from pydantic import BaseModel

from facekd import __version__, ranks
from facekd.backbones import usual_size, usual_width
from facekd.distill.presets import expand
from facekd.distill.readout import through_projector
from facekd.errors import FacekdError, did_you_mean
from facekd.files import write_text
from facekd.fingerprint import file_fingerprint
from facekd.heads.classifier import Classifier
from facekd.heads.compare import compare_heads
from facekd.recipe import Data, Network, Recipe, Stage
from facekd.train.checkpoint import Training, read_network
from facekd.train.checkpoints import Checkpoints
from facekd.train.ema import with_mean
from facekd.train.head_file import write_head
from facekd.train.sources import head_path, locate, teacher_head_path
from facekd.train.stage_plan import StagePlan
from facekd.train.subcentres import count_and_list

# what may change between two sittings: it has no influence on the weights
_FREE = {"device", "checkpoint_minutes", "keep_checkpoints", "validation", "data"}
_FREE_DATA = {"workers"}
# younger than the first runs: told only where it is not as it was for them, so that these go on
_LATER: dict[type[BaseModel], set[str]] = {
    Stage: {
        "task",
        "partial_fc",
        "accumulate",
        "freeze_bn",
        "sync_bn",
        "ema",
        "compile",
        "deterministic",
        "stop_after_nonfinite",
    },
    Data: {"reading", "buffer", "pad", "resized_crop", "randaugment"},
    Network: {"normalize"},
}


def checkpoints_of(plan: StagePlan) -> Checkpoints:
    """The checkpoints of an unfinished stage."""
    return Checkpoints(plan.folder / plan.name, plan.stage.keep_checkpoints)


def summary_path(plan: StagePlan) -> Path:
    """What a finished stage tells about itself."""
    return plan.folder / plan.name / "summary.json"


def best_path(plan: StagePlan) -> Path:
    """The network that did best on the first verification set, when that was not the last."""
    return plan.folder / plan.name / "best.pt"


def settings_of(plan: StagePlan) -> dict[str, Any]:
    """Everything that has an influence on a stage's weights, as JSON values.

    The images and the files that the stage builds on stand in it by their fingerprints: a student
    whose teacher was trained again is out of date.
    """
    stage = plan.stage.model_dump(mode="json", exclude=_FREE | _as_always(plan.stage))
    stage["model"] = _network(plan.stage.model)
    data = plan.data.model_dump(mode="json", exclude=_FREE_DATA | _as_always(plan.data))
    data["fingerprint"] = f"{plan.faces.fingerprint} {plan.faces.label_map.hash}"
    files = {key: locate(source, plan.folder) for key, source in plan.stage.sources().items()}
    built_on = {key: file_fingerprint(f) if f.is_file() else None for key, f in files.items()}
    cache = plan.cache.model_dump(mode="json", exclude={"dir"})
    return {
        **stage,
        "loss": plan.specs,
        "data": data,
        "cache": cache if stage["teacher"] else None,
        "seed": plan.seed,
        "built_on": built_on,
    }


def _network(settings: Network) -> dict[str, Any]:
    """With the width and the size that are taken where none is asked for, as the first runs had."""
    return settings.model_dump(mode="json", exclude=_as_always(settings)) | {
        "embedding_dim": settings.embedding_dim or usual_width(settings.backbone),
        "input_size": settings.input_size or usual_size(settings.backbone),
    }


def _as_always(section: BaseModel) -> set[str]:
    fields = type(section).model_fields
    later = _LATER[type(section)] & fields.keys()
    return {key for key in later if getattr(section, key) == fields[key].default}


def is_finished(plan: StagePlan) -> bool:
    """Whether the stage's network is there; it is the last thing that a stage writes."""
    return plan.model_path.is_file() and summary_path(plan).is_file()


def refuse_changes(plan: StagePlan, allowed: Sequence[str] = ()) -> dict[str, str]:
    """Stop when a stage was begun, or finished, with other settings.

    Args:
        plan: The stage, as it is asked for now.
        allowed: Dotted keys of settings that may differ, or of groups of settings.

    Returns:
        The differences that are allowed: dotted key -> a sentence.

    Raises:
        FacekdError: Lists the settings that differ.
    """
    if is_finished(plan):
        before = _read_settings(summary_path(plan))
    elif (values := checkpoints_of(plan).values()) is not None:
        before = values["settings"]
    else:
        return {}
    now = settings_of(plan)
    changes = differences(_as_unsaid(before, now), now)
    refused = {key: change for key, change in changes.items() if not _is_under(key, allowed)}
    if refused:
        flags = " ".join(f"--allow-changed {key}" for key in refused)
        raise FacekdError(
            f"{plan.folder} was made with other settings of stage {plan.name!r}: "
            f"{'; '.join(refused.values())}. Choose another output=, or go on with the new ones "
            f"({flags}), or delete {plan.model_path} and {plan.folder / plan.name} to train it "
            "again."
        )
    return changes


def _as_unsaid(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
    """The settings of a run of the first versions, which wrote "rgb" where a teacher was not asked.

    That stands where nothing is said now either; else it is what somebody asked for.
    """
    teacher = before.get("teacher") or {}
    unsaid = now["teacher"] and now["teacher"]["channels"] is None
    if unsaid and teacher.get("channels") == "rgb":
        return before | {"teacher": teacher | {"channels": None}}
    return before


def check_allowed(plans: Sequence[StagePlan], allowed: Sequence[str]) -> None:
    """Make sure that what may differ is a setting of some stage.

    Raises:
        FacekdError: One is none.
    """
    if not allowed:
        return
    known = _LATER[Stage] | {f"data.{key}" for key in _LATER[Data]}
    known |= {f"model.{key}" for key in _LATER[Network]}
    known |= {key for plan in plans for key in _keys(settings_of(plan))}
    for key in allowed:
        if key not in known:
            raise FacekdError(
                f"--allow-changed {key}: there is no such setting of a stage that it would be "
                f"refused for; {did_you_mean(key, known)}"
            )


def _is_under(key: str, groups: Sequence[str]) -> bool:
    return any(key == group or key.startswith(f"{group}.") for group in groups)


def _keys(settings: Any, path: str = "") -> list[str]:
    if not isinstance(settings, dict):
        return []
    named = {f"{path}.{key}" if path else key: value for key, value in settings.items()}
    return [*named, *(inner for key, value in named.items() for inner in _keys(value, key))]


def _read_settings(path: Path) -> dict[str, Any]:
    try:
        settings: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["settings"]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise FacekdError(
            f"{path} is damaged ({error}); delete it, and the stage is trained again."
        ) from error
    return settings


def describe_run(recipe: Recipe) -> None:
    """Write the resolved recipe and the environment into the run folder."""
    folder = Path(recipe.output)
    resolved = recipe.model_dump(mode="json")
    for name, stage in recipe.stages.items():
        written = resolved["stages"][name]
        written["loss"] = expand(stage.loss, stage.margin)
        if stage.start_from:  # its network is the file's; the defaults are not meant
            written["model"] = stage.model.model_dump(mode="json", exclude_unset=True)
    write_text(folder / "recipe.yaml", yaml.safe_dump(resolved, sort_keys=False))
    versions = {
        "facekd": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
    }
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine()
    content = {
        "format": 1,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "seed": recipe.seed,
        "versions": versions,
        "device": device,
        "threads": torch.get_num_threads(),
    }
    write_text(folder / "run.json", json.dumps(content, indent=2) + "\n")


def write_stage_head(plan: StagePlan, run: Training) -> None:
    """Write a finished stage's classifier; all processes call it together, the first one writes."""
    own, wanted = run.objective.student_head, plan.stage.head
    if isinstance(own, Classifier) and wanted and wanted.centres > 1 and ranks.rank() == 0:
        count_and_list(plan, run, own, wanted.drop_degrees)
    head = own or run.objective.teacher_head
    if head is not None and head.embedding_dim == plan.embedding_dim:
        write_head(head_path(plan.model_path), head, plan.faces.label_map.hash)
    theirs = run.objective.teacher_head
    if plan.classes and isinstance(theirs, Classifier) and ranks.rank() == 0:
        whole = through_projector(theirs, run.objective.projector)
        if whole is not None:
            write_head(teacher_head_path(plan.model_path), whole, plan.faces.label_map.hash)


def _alike(run: Training) -> dict[str, float] | None:
    """How alike the student's and the teacher's head have become, where there are both."""
    student, teacher = run.objective.student_head, run.objective.teacher_head
    if not (isinstance(student, Classifier) and isinstance(teacher, Classifier)):
        return None
    if student.weight.shape != teacher.weight.shape:
        return None
    return compare_heads(student, teacher)


def write_results(
    plan: StagePlan,
    run: Training,
    settings: dict[str, Any],
    validation: dict[str, Any],
    machine: dict[str, Any],
) -> None:
    """Write label map, summary, best network and, last, that of a finished stage."""
    label_map = plan.faces.label_map
    label_map.save(plan.model_path.with_suffix(".label_map.json"))
    images = run.step * plan.stage.batch_size
    summary = {
        "format": 1,
        "stage": plan.name,
        "steps": run.step,
        "images_seen": images,
        "minutes": round(run.seconds / 60, 2),
        "images_per_second": round(images / max(run.seconds, 1e-9), 1),
        "precision": run.precision,
        "machine": machine,
        "skipped_records": list(run.bad),
        "allowed_changes": list(run.allowed),
        "validation": validation,
        "heads": _alike(run),
        "best": run.best,
        "settings": settings,
    }
    write_text(summary_path(plan), json.dumps(summary, indent=2) + "\n")
    description = {
        "run": plan.folder.name,
        "stage": plan.name,
        "recipe": settings,
        "label_map_hash": label_map.hash,
    }
    checkpoints = checkpoints_of(plan)
    if run.best and run.best["step"] < run.step:
        _save_best(checkpoints.path_of(run.best["step"]), best_path(plan), run, description)
    with_mean(run.model, run.ema).save(plan.model_path, **description)
    checkpoints.clear()


def _save_best(checkpoint: Path, path: Path, run: Training, description: dict[str, Any]) -> None:
    """Write the network of a checkpoint, when it is still there."""
    if not checkpoint.is_dir():
        return
    last = {name: tensor.clone() for name, tensor in run.model.state_dict().items()}
    run.model.load_state_dict(read_network(checkpoint))
    run.model.save(path, **description)
    run.model.load_state_dict(last)


def differences(before: Any, now: Any, path: str = "") -> dict[str, str]:
    """What differs between two settings: dotted key -> a sentence."""
    if isinstance(before, dict) and isinstance(now, dict):
        found: dict[str, str] = {}
        for key in sorted(before.keys() | now.keys()):
            inner = f"{path}.{key}" if path else key
            found |= differences(before.get(key), now.get(key), inner)
        return found
    return {} if before == now else {path: f"{path} was {before!r}, is now {now!r}"}
