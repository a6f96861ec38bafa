"""The state of an unfinished stage in one safetensors file: no pickle, whole or not at all.

Tensors are named `model.*`, `objective.*`, `optimizer.<key>.<parameter>` and `rng.*`; plain values
stand as JSON in the file's metadata. Order and mirroring of images follow from seed and step, so
the step is all that is remembered of the loader.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from facekd.distill.objective import Objective
from facekd.errors import FacekdError
from facekd.files import atomic_path
from facekd.model import FaceModel

FORMAT = 1


@dataclass
class Training:
    """Everything that changes while a stage trains.

    Attributes:
        model: The network.
        objective: Heads, projector, terms.
        optimizer: Over `parameters`.
        parameters: What learns, by name.
        scaler: Of fp16 gradients (disabled otherwise).
        precision: fp32, bf16 or fp16; settled at the first step of the stage.
        step: Steps done.
        seconds: Time spent training, over all sittings.
        bad: Records skipped, one sentence each.
    """

    model: FaceModel
    objective: Objective
    optimizer: torch.optim.Optimizer
    parameters: dict[str, nn.Parameter]
    scaler: torch.amp.GradScaler
    precision: str = "fp32"
    step: int = 0
    seconds: float = 0.0
    bad: tuple[str, ...] = ()


def save_state(path: Path, training: Training, settings: dict[str, Any]) -> None:
    """Write the state of a stage.

    Args:
        path: The file; what stood there before stays until the new one is complete.
        training: The state.
        settings: The stage's settings, compared on resume.

    Raises:
        FacekdError: The file cannot be written (a full disk).
    """
    tensors = {f"model.{k}": v for k, v in training.model.state_dict().items()}
    tensors |= {f"objective.{k}": v for k, v in training.objective.state_dict().items()}
    for name, parameter in training.parameters.items():
        for key, value in training.optimizer.state[parameter].items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{key}.{name}"] = value
    tensors["rng.torch"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    values = {
        "format": FORMAT,
        "step": training.step,
        "seconds": training.seconds,
        "precision": training.precision,
        "bad": list(training.bad),
        "scaler": training.scaler.state_dict(),
        "settings": settings,
    }
    on_cpu = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    try:
        with atomic_path(path) as temporary:
            save_file(on_cpu, temporary, metadata={"facekd": json.dumps(values)})
    except SafetensorError as error:
        raise FacekdError(
            f"cannot write {path}: {error}; free space or choose another output folder. The last "
            "good checkpoint is untouched."
        ) from error


def read_values(path: Path) -> dict[str, Any]:
    """The plain values of a checkpoint.

    Raises:
        FacekdError: The file is damaged, or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            values: dict[str, Any] = json.loads((file.metadata() or {})["facekd"])
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise FacekdError(
            f"the checkpoint {path} is damaged ({error}); delete it to train the stage again."
        ) from error
    if values.get("format") != FORMAT:
        raise FacekdError(f"the checkpoint {path} has format {values.get('format')}, not {FORMAT}.")
    return values


def load_state(path: Path, training: Training) -> None:
    """Put a checkpoint's state back, bit for bit.

    Raises:
        FacekdError: The file is damaged, or belongs to another network or loss.
    """
    values = read_values(path)
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    try:
        training.model.load_state_dict(_under(tensors, "model."))
        training.objective.load_state_dict(_under(tensors, "objective."))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise FacekdError(
            f"the checkpoint {path} does not fit this stage ({reason}); delete it to train again."
        ) from error
    for name, value in _under(tensors, "optimizer.").items():
        key, _, parameter_name = name.partition(".")
        parameter = training.parameters[parameter_name]
        place = value if key == "step" else value.to(parameter.device)
        training.optimizer.state[parameter][key] = place
    torch.set_rng_state(tensors["rng.torch"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    if values["scaler"]:
        training.scaler.load_state_dict(values["scaler"])
    training.step, training.seconds = values["step"], values["seconds"]
    training.precision, training.bad = values["precision"], tuple(values["bad"])


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
