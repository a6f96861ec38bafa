"""The run folder: what it is compared with on resume, and what a finished stage leaves in it."""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from facekd import __version__
from facekd.distill.presets import expand
from facekd.errors import FacekdError
from facekd.files import write_text
from facekd.fingerprint import file_fingerprint
from facekd.heads.classifier import save_head
from facekd.recipe import Recipe
from facekd.train.checkpoint import Training, read_values
from facekd.train.plan import StagePlan
from facekd.train.sources import head_path, locate
from facekd.train.subcentres import count_and_list

# what may change between two sittings: it has no influence on the weights
_FREE = {"device", "checkpoint_minutes", "validation", "data"}
_FREE_DATA = {"workers"}


def state_path(plan: StagePlan) -> Path:
    """The checkpoint of an unfinished stage."""
    return plan.folder / plan.name / "state.safetensors"


def summary_path(plan: StagePlan) -> Path:
    """What a finished stage tells about itself."""
    return plan.folder / plan.name / "summary.json"


def settings_of(plan: StagePlan) -> dict[str, Any]:
    """Everything that has an influence on a stage's weights, as JSON values.

    The images and the files that the stage builds on stand in it by their fingerprints: a student
    whose teacher was trained again is out of date.
    """
    stage = plan.stage.model_dump(mode="json", exclude=_FREE)
    data = plan.data.model_dump(mode="json", exclude=_FREE_DATA)
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


def is_finished(plan: StagePlan) -> bool:
    """Whether the stage's network is there; it is the last thing that a stage writes."""
    return plan.model_path.is_file() and summary_path(plan).is_file()


def refuse_changes(plan: StagePlan) -> None:
    """Stop when a stage was begun, or finished, with other settings.

    Raises:
        FacekdError: Lists the settings that differ.
    """
    if is_finished(plan):
        before = _read_settings(summary_path(plan))
    elif state_path(plan).is_file():
        before = read_values(state_path(plan))["settings"]
    else:
        return
    changes = differences(before, settings_of(plan))
    if changes:
        raise FacekdError(
            f"{plan.folder} was made with other settings of stage {plan.name!r}: "
            f"{'; '.join(changes[:5])}. Choose another output=, or delete "
            f"{plan.model_path} and {plan.folder / plan.name} to train it again."
        )


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
        written["loss"] = expand(stage.loss)
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


def write_results(
    plan: StagePlan, run: Training, settings: dict[str, Any], validation: dict[str, Any]
) -> None:
    """Write classifier, label map, summary and, last, the network of a finished stage."""
    label_map = plan.faces.label_map
    own, wanted = run.objective.student_head, plan.stage.head
    if own is not None and wanted is not None and wanted.centres > 1:
        count_and_list(plan, run, own, wanted.drop_degrees)
    head = own or run.objective.teacher_head
    if head is not None and head.embedding_dim == plan.embedding_dim:
        save_head(head_path(plan.model_path), head, label_map.hash)
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
        "skipped_records": list(run.bad),
        "validation": validation,
        "settings": settings,
    }
    write_text(summary_path(plan), json.dumps(summary, indent=2) + "\n")
    description = {"stage": plan.name, "recipe": settings}
    run.model.save(plan.model_path, **description, label_map_hash=label_map.hash)
    state_path(plan).unlink(missing_ok=True)


def differences(before: Any, now: Any, path: str = "") -> list[str]:
    """What differs between two settings, a sentence each, with its dotted key."""
    if isinstance(before, dict) and isinstance(now, dict):
        found: list[str] = []
        for key in sorted(before.keys() | now.keys()):
            inner = f"{path}.{key}" if path else key
            found += differences(before.get(key), now.get(key), inner)
        return found
    return [] if before == now else [f"{path} was {before!r}, is now {now!r}"]
