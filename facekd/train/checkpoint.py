"""One checkpoint: the whole state of an unfinished stage, in a folder, without pickle.

`rank0.safetensors`, `rank1.safetensors`, ... hold the tensors, one file a process. Rank 0's has
what all processes share (`model.*`, `objective.*` with the terms' buffers, `ema.*`,
`optimizer.<key>.<parameter>`) and its own rows of what is cut over them (a sharded head); the
others' have their own rows. Each holds its process's random states. `manifest.json`, written last,
holds step, settings and all other plain values, the row range of each shard, and every file's size
and SHA-256. Order and mirroring of images, and the learning rate, follow from seed and step: the
step is all that is remembered of them. On another number of processes rows are cut anew.

`torch.distributed.checkpoint` is not used: its metadata is a pickle, which runs what it says.

Format 1 was a single file, `state.safetensors`, with the plain values in its metadata; it is read.
"""

import hashlib
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from facekd import ranks
from facekd.distill.objective import Objective
from facekd.errors import FacekdError
from facekd.files import flush
from facekd.model import FaceModel
from facekd.train.random_state import random_state, restore_random_state
from facekd.train.tensor_file import write_tensors

FORMAT = 2
_MANIFEST = "manifest.json"


@dataclass
class Training:
    """Everything that changes while a stage trains.

    Attributes:
        model: The network.
        objective: Heads, projector, terms.
        optimizer: Over `parameters`.
        parameters: What learns, by name (`0.` the network's, `1.` the objective's).
        scaler: Of fp16 gradients (disabled otherwise).
        precision: fp32, bf16 or fp16; settled at the first step of the stage.
        step: Steps done.
        seconds: Time spent training, over all sittings.
        bad: Records skipped, one sentence each.
        ema: Running mean of the network's weights, by name, or None.
        sharded: What is cut over the processes (`objective.student_head.weight`): this process's
            rows of the whole. The optimizer's entries are cut with it.
        best: The best look at the first verification set so far: `bench`, `step` and `accuracy`.
        allowed: Settings that --allow-changed let change midway, a sentence each.
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
    ema: dict[str, Tensor] | None = None
    sharded: Mapping[str, range] = field(default_factory=dict)
    best: dict[str, Any] | None = None
    allowed: tuple[str, ...] = ()


def write_part(folder: Path, training: Training) -> dict[str, Any]:
    """Write this process's file of a checkpoint.

    Args:
        folder: The new checkpoint's, not yet at its place.
        training: The state.

    Returns:
        What the manifest says of it: `bytes`, `sha256`, and `rows`: name -> (first, past last).

    Raises:
        OSError: The disk is full, or the folder cannot be written to (or seen from this host).
    """
    tensors = _tensors(training)
    rows = {name: _rows(name, tensor, training) for name, tensor in tensors.items()}
    if ranks.rank():
        tensors = {name: tensor for name, tensor in tensors.items() if rows[name] is not None}
    states, plain = random_state()
    path = folder / f"rank{ranks.rank()}.safetensors"
    size, digest = write_tensors(path, tensors | states, {"random": json.dumps(plain)})
    cut = {name: (r.start, r.stop) for name, r in rows.items() if r is not None}
    return {"bytes": size, "sha256": digest, "rows": cut}


def write_manifest(
    folder: Path, training: Training, parts: list[dict[str, Any]], about: Mapping[str, Any]
) -> None:
    """Write what makes a checkpoint whole, once every process has written its file.

    Args:
        folder: The new checkpoint's.
        training: The state.
        parts: What `write_part` gave, by rank.
        about: Plain values to keep beside it: `settings`, compared on resume, and more.

    Raises:
        OSError: The disk is full.
        FacekdError: A process wrote its file where this one does not see it.
    """
    for rank, part in enumerate(parts):
        path = folder / f"rank{rank}.safetensors"
        if not path.is_file() or path.stat().st_size != part["bytes"]:
            raise FacekdError(
                f"rank {rank} wrote {path.name}, and rank 0 does not see it in {folder}; the run "
                "folder must be on a disk that all hosts share."
            )
    files = {
        f"rank{r}.safetensors": (part["bytes"], part["sha256"]) for r, part in enumerate(parts)
    }
    values = {
        "format": FORMAT,
        "step": training.step,
        "world": len(parts),
        "files": {name: {"bytes": n, "sha256": digest} for name, (n, digest) in files.items()},
        "sharded": {name: [part["rows"].get(name) for part in parts] for name in parts[0]["rows"]},
        "optimizer": type(training.optimizer).__name__,
        "seconds": training.seconds,
        "precision": training.precision,
        "bad": list(training.bad),
        "scaler": training.scaler.state_dict(),
        "best": training.best,
        "allowed": list(training.allowed),
        **about,
    }
    path = folder / _MANIFEST
    path.write_text(json.dumps(values | {"sha256": _digest(values)}, indent=1) + "\n", "utf-8")
    flush(path)
    flush(folder)


def read_values(path: Path) -> dict[str, Any]:
    """The plain values of a checkpoint: a folder, or a file of format 1.

    Raises:
        FacekdError: It is damaged, or of another format.
    """
    try:
        if path.is_dir():
            values = json.loads((path / _MANIFEST).read_text("utf-8"))
            known, whole = FORMAT, values.pop("sha256") == _digest(values)
        else:
            with safe_open(path, framework="pt") as file:
                values = json.loads((file.metadata() or {})["facekd"])
            known, whole = 1, True
        found = values["format"]
    except (OSError, SafetensorError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise FacekdError(f"the checkpoint {path} is damaged ({_line(error)}).") from error
    if found != known:
        raise FacekdError(f"the checkpoint {path} has format {found}, not {known}.")
    if not whole:
        raise FacekdError(f"the checkpoint {path} is damaged (its manifest was changed).")
    return dict(values)


def check_whole(path: Path) -> None:
    """Read a checkpoint through, and compare it with its checksums.

    Raises:
        FacekdError: It is damaged.
    """
    for name, known in read_values(path).get("files", {}).items():
        try:
            with (path / name).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise FacekdError(f"the checkpoint {path} is damaged ({_line(error)}).") from error
        if found != known["sha256"]:
            raise FacekdError(f"the checkpoint {path} is damaged ({name} has another checksum).")


def load_checkpoint(path: Path, training: Training) -> None:
    """Put a checkpoint's state back, bit for bit; on another number of processes cut anew.

    Args:
        path: A folder, or a file of format 1.
        training: As it was built at step 0, with the precision that the checkpoint names (or
            another one, if that may change). Its `sharded` says which rows it is to have.

    Raises:
        FacekdError: It is damaged, or belongs to another network, loss or optimizer.
    """
    values = read_values(path)
    if values.get("optimizer", optimizer := type(training.optimizer).__name__) != optimizer:
        raise FacekdError(f"the checkpoint {path} is of {values['optimizer']}, not {optimizer}.")
    try:
        with ExitStack() as stack:
            tensors = _Reader(path, values, stack)
            training.model.load_state_dict(tensors.under("model.", training))
            training.objective.load_state_dict(tensors.under("objective.", training))
            _load_optimizer(tensors.under("optimizer.", training), training)
            _load_ema(tensors.under("ema.", training), training)
            restore_random_state(*tensors.random())
    except (OSError, SafetensorError, LookupError, ValueError, RuntimeError) as error:
        raise FacekdError(
            f"the checkpoint {path} does not fit this stage ({_line(error)})."
        ) from error
    if values["scaler"]:
        training.scaler.load_state_dict(values["scaler"])
    training.step, training.seconds = values["step"], values["seconds"]
    training.bad, training.best = tuple(values["bad"]), values.get("best")
    training.allowed = tuple(values.get("allowed", ()))


def read_network(path: Path) -> dict[str, Tensor]:
    """The network's tensors in a whole checkpoint; their running mean where it has one."""
    with safe_open(path / "rank0.safetensors", framework="pt") as file:
        names = sorted(file.keys(), key=lambda name: name.startswith("ema."))  # these win
        pairs = ((*name.partition("."), name) for name in names)
        return {
            rest: file.get_tensor(name) for kind, _, rest, name in pairs if kind in ("model", "ema")
        }


class _Reader:
    """The tensors of a checkpoint, whole or by rows, over its files."""

    def __init__(self, path: Path, values: dict[str, Any], stack: ExitStack) -> None:
        names = [path]
        if path.is_dir():
            names = [path / f"rank{r}.safetensors" for r in range(values["world"])]
        self.files = [stack.enter_context(safe_open(name, framework="pt")) for name in names]
        self.cuts: dict[str, list[list[int]]] = values.get("sharded", {})

    def under(self, prefix: str, training: Training) -> dict[str, Tensor]:
        """What this process is to have, without the prefix."""
        names = [name for name in self.files[0].keys() if name.startswith(prefix)]  # noqa: SIM118
        return {name.removeprefix(prefix): self._read(name, training) for name in names}

    def random(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The random states of this process; of none where the checkpoint had fewer."""
        if ranks.rank() >= len(self.files):
            return {}, {}
        file = self.files[ranks.rank()]
        names = [name for name in file.keys() if name.startswith("rng.")]  # noqa: SIM118
        plain = json.loads((file.metadata() or {}).get("random", "{}"))
        return {name: file.get_tensor(name) for name in names}, plain

    def _read(self, name: str, training: Training) -> Tensor:
        first = self.files[0].get_slice(name)
        shape = first.get_shape()
        cuts = self.cuts.get(name, [[0, shape[0]]] if shape else [])
        total = max((stop for _, stop in cuts), default=0)
        wanted = training.sharded.get(_owner(name)) if shape else None
        if wanted is None:
            if name not in self.cuts:
                return _tensor(self.files[0].get_tensor(name))
            wanted = range(total)
        elif (whole := max(ranks.each(wanted.stop))) != total:
            raise ValueError(f"{name} has {total} rows, and {whole} are needed")
        parts = []
        for file, (start, stop) in zip(self.files, cuts, strict=False):
            low, high = max(start, wanted.start), min(stop, wanted.stop)
            if low < high:
                parts.append(file.get_slice(name)[low - start : high - start])
        return torch.cat(parts) if parts else _tensor(first[:0])


def _tensor(found: Tensor) -> Tensor:  # safetensors does not say its types
    return found


def _tensors(training: Training) -> dict[str, Tensor]:
    tensors = {f"model.{k}": v for k, v in training.model.state_dict().items()}
    tensors |= {f"objective.{k}": v for k, v in training.objective.state_dict().items()}
    for name, parameter in training.parameters.items():
        for key, value in training.optimizer.state[parameter].items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{key}.{name}"] = value
    return tensors | {f"ema.{k}": v for k, v in (training.ema or {}).items()}


def _rows(name: str, tensor: Tensor, training: Training) -> range | None:
    rows = training.sharded.get(_owner(name)) if tensor.ndim else None
    assert rows is None or len(rows) == len(tensor), f"{name}: {len(tensor)} rows are not {rows}"
    return rows


def _owner(name: str) -> str:
    """The weight that an optimizer's entry belongs to; other names as they are."""
    kind, _, rest = name.partition(".")
    if kind != "optimizer":
        return name
    _, module, weight = rest.split(".", 2)
    return f"{('model', 'objective')[int(module)]}.{weight}"


def _load_optimizer(entries: dict[str, Tensor], training: Training) -> None:
    defaults = training.optimizer.defaults
    for name, value in entries.items():
        key, _, parameter_name = name.partition(".")
        parameter = training.parameters[parameter_name]
        if value.shape == parameter.shape:
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)  # in its strides
        elif value.ndim:
            raise ValueError(f"optimizer.{name} is {tuple(value.shape)}")
        elif key != "step" or defaults.get("fused") or defaults.get("capturable"):
            value = value.to(parameter.device)
        training.optimizer.state[parameter][key] = value.detach()


def _load_ema(entries: dict[str, Tensor], training: Training) -> None:
    """From the checkpoint; where it has none, the mean begins at the weights just loaded."""
    if training.ema is not None:
        before = entries or training.model.state_dict()
        for name, tensor in training.ema.items():
            tensor.copy_(before[name])


def _digest(values: dict[str, Any]) -> str:
    as_read = json.loads(json.dumps(values))  # its keys are text
    return hashlib.sha256(json.dumps(as_read, sort_keys=True).encode()).hexdigest()


def _line(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__).splitlines()[0]
