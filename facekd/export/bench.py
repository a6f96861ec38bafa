"""What networks cost: size, arithmetic, time and memory, each measured in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from facekd.errors import FacekdError

SECONDS = 2.0
"""How long each timing goes on."""


@dataclass(frozen=True)
class Cost:
    """One network in one runtime with so many threads.

    Attributes:
        model: Its name.
        runtime: "torch" or "onnxruntime".
        threads: How many it may use.
        parameters: Numbers in its weights.
        macs: Multiply-accumulates for one image; None where a graph does not tell.
        bytes: Of the file that the runtime reads.
        latency: Median seconds for one image.
        latency_p95: The 95th percentile.
        images_per_second: In batches.
        batch: Of so many images: 64, or 1 where the file takes no more.
        memory_empty: Bytes resident with the runtime loaded, and no network.
        memory: Most bytes resident after one image at a time, loading included.
        memory_batch: The same after batches.
    """

    model: str
    runtime: str
    threads: int
    parameters: int
    macs: int | None
    bytes: int
    latency: float
    latency_p95: float
    images_per_second: float
    batch: int
    memory_empty: int
    memory: int
    memory_batch: int


@dataclass(frozen=True)
class _Network:
    """One network, counted, and the file for each runtime."""

    name: str
    size: int
    parameters: int
    macs: int | None
    files: dict[str, Path]


def all_threads() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def measure_costs(
    models: dict[str, Path],
    *,
    threads: Sequence[int] = (),
    seconds: float = SECONDS,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Cost]:
    """Measure networks in torch and onnxruntime; an .onnx file in onnxruntime alone.

    Weights are exported to ONNX in a temporary folder, as `facekd-model export` does.

    Args:
        models: Name -> file.
        threads: How many a run may use; empty: one, and all there are.
        seconds: How long each timing goes on, as `bench_worker.measure` says.
        progress: Told what is measured next.

    Returns:
        By network, runtime and threads, in their order.

    Raises:
        FacekdError: A file is no network's, onnx or onnxruntime is not installed, or a
            measurement fails.
    """
    counts = tuple(dict.fromkeys(threads or (1, all_threads())))
    costs = []
    with TemporaryDirectory() as folder:
        networks = []
        for number, (name, path) in enumerate(models.items()):
            progress(f"{name}: load" + ("" if path.suffix == ".onnx" else " and export"))
            networks.append(_prepare(name, path, Path(folder) / f"{number}.onnx"))
        for network in networks:
            for runtime, file in network.files.items():
                for count in counts:
                    progress(f"{network.name}: {runtime}, {count} thread{'s' * (count > 1)}")
                    costs.append(_measure(network, runtime, file, count, seconds))
    return costs


def _prepare(name: str, path: Path, exported: Path) -> _Network:
    """Load a network once: to find mistakes, to count it, and to write its graph."""
    from facekd.backbones import count
    from facekd.export.facts import facts_of
    from facekd.export.onnx import require_onnx, to_onnx, write_onnx
    from facekd.export.onnx_count import count_onnx
    from facekd.export.prepare import prepare
    from facekd.model import FaceModel, load_model

    require_onnx("facekd-model bench")
    model = load_model(path)
    size = model.preprocess.input_size
    if not isinstance(model, FaceModel):
        return _Network(name, size, *count_onnx(path), {"onnxruntime": path})
    counted = count(model.backbone, size)
    write_onnx(to_onnx(prepare(model), size, facts_of(model)), exported)
    return _Network(name, size, *counted, {"torch": path, "onnxruntime": exported})


def _measure(network: _Network, runtime: str, file: Path, threads: int, seconds: float) -> Cost:
    worker = [sys.executable, "-P", "-m", "facekd.export.bench_worker"]
    asked = [str(file), runtime, str(threads), str(network.size), str(seconds)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    done = subprocess.run([*worker, *asked], capture_output=True, text=True, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise FacekdError(
            f"{network.name}: measuring it in {runtime} failed ({last}); with too little memory, "
            "bench a smaller network."
        )
    return Cost(
        model=network.name,
        runtime=runtime,
        threads=threads,
        parameters=network.parameters,
        macs=network.macs,
        bytes=file.stat().st_size,
        **json.loads(done.stdout),
    )
