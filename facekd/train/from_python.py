"""`facekd.distill(...)`: a recipe of one stage, written, checked and run in one call."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from facekd.errors import FacekdError
from facekd.model import FaceModel
from facekd.recipe_file import build_recipe
from facekd.train.stages import run_recipe
from facekd.yaml_reader import Document

_STAGE = "student"


def distill(
    teacher: str | Path | Mapping[str, Any],
    data: str | Path | Sequence[str] | Mapping[str, Any],
    student: str | Mapping[str, Any] = "mobilefacenet",
    loss: str | Mapping[str, Any] | Sequence[Any] = "th_kd",
    *,
    output: str | Path,
    seed: int = 0,
    **settings: Any,
) -> FaceModel:
    """Train a student under a teacher: `facekd-train` with a recipe of one stage.

    Same checks, same defaults, same run folder: `<output>/student.pt`, its classifier, label map,
    log and the recipe. The same call again goes on where a stopped one was, and gives a finished
    student back untrained.

    Args:
        teacher: A network's file, or a recipe's `teacher` section: `{"model": "r50.onnx",
            "input_range": [-1, 1]}`.
        data: A `.rec` file, a folder of NAME/*.jpg, "synthetic", or a recipe's `data` section.
        student: A backbone, or a recipe's `model` section: `{"backbone": "mobilefacenet",
            "embedding_dim": 128, "args": {"width": 0.5}}`.
        loss: A preset (`facekd-train --list`), or a recipe's `loss`.
        output: The run folder.
        seed: Fixes weights, order and mirroring.
        **settings: Further keys of a stage: `batch_size=64, schedule={"epochs": 4},
            optimizer={"lr": 0.05}, precision="fp32"`.

    Returns:
        The student, in evaluation mode.

    Raises:
        FacekdError: As `facekd-train`, with the key that is wrong.
        facekd.train.stopping.Interrupted: A signal stopped it; everything is saved.
    """
    if not isinstance(teacher, str | Path | Mapping):
        raise FacekdError(
            f"facekd.distill: the teacher is a {type(teacher).__name__}; give its file "
            "(model.save(FILE) writes one)."
        )
    model = {"backbone": student} if isinstance(student, str) else student
    stage = {**settings, "teacher": teacher, "model": model, "loss": loss}
    document = Document("", "facekd.distill")
    document.data = _plain({"seed": seed, "data": data, "stages": {_STAGE: stage}})
    (path,) = run_recipe(build_recipe(document, (), str(output)))
    return FaceModel.load(path)


def _plain(value: Any) -> Any:
    """Paths as text, mappings as dicts, other sequences as lists: what YAML would have given."""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
