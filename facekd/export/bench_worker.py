"""One network, one runtime, so many threads: timed in a process of its own.

`python -m facekd.export.bench_worker FILE RUNTIME THREADS SIZE SECONDS` prints one JSON object. The
process holds nothing but the runtime and the network, so its peak of memory is theirs; an .onnx
file is run without torch being loaded.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 64
_WARM_UP, _LEAST, _WANTED, _MOST = 3, 3, 20, 2000
_PATIENCE = 5  # times as long as asked, where that is too short for the runs wanted

Run = Callable[[int], object]


def measure(path: Path, runtime: str, threads: int, size: int, seconds: float) -> dict[str, Any]:
    """Load a network and time it on noise.

    Args:
        path: The file.
        runtime: "torch" or "onnxruntime".
        threads: How many it may use.
        size: Side of its input.
        seconds: How long each of the two timings goes on; a slow network's latency up to five
            times as long, for 20 images; at least three images, and one batch.

    Returns:
        latency and latency_p95, seconds for one image; images_per_second and the batch they were
        measured with (64, or 1 where the file takes no more); memory_empty, memory and
        memory_batch, bytes: resident with the runtime alone, and at the peak after one image at a
        time and after batches.
    """
    open_network = _open_torch if runtime == "torch" else _open_onnx
    load = open_network(threads)
    empty = _memory("VmRSS")
    run, batch = load(path, size)
    times = _times(lambda: run(1), seconds)
    memory = _memory("VmHWM")
    passes = _times(lambda: run(batch), seconds, warm_up=0, wanted=1) if batch > 1 else times
    return {
        "latency": float(np.median(times)),
        "latency_p95": float(np.percentile(times, 95)),
        "images_per_second": batch / float(np.median(passes)),
        "batch": batch,
        "memory_empty": empty,
        "memory": memory,
        "memory_batch": _memory("VmHWM"),
    }


def _open_torch(threads: int) -> Callable[[Path, int], tuple[Run, int]]:
    """Imports torch; what it returns loads a network, and says its largest batch."""
    import torch

    from facekd.model import FaceModel, load_model

    torch.set_num_threads(threads)

    def load(path: Path, size: int) -> tuple[Run, int]:
        model = load_model(path)
        assert isinstance(model, FaceModel)
        network, images = model.backbone, torch.from_numpy(_noise(size))

        def run(count: int) -> object:
            with torch.inference_mode():
                return network(images[:count])

        return run, BATCH

    return load


def _open_onnx(threads: int) -> Callable[[Path, int], tuple[Run, int]]:
    """The same with onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3

    def load(path: Path, size: int) -> tuple[Run, int]:
        session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
        image = session.get_inputs()[0]
        output = [session.get_outputs()[0].name]
        images = _noise(size)
        batch = 1 if image.shape[0] == 1 else BATCH
        return lambda count: session.run(output, {image.name: images[:count]}), batch

    return load


def _noise(size: int) -> NDArray[np.float32]:
    return np.random.default_rng(0).uniform(-1, 1, (BATCH, 3, size, size)).astype(np.float32)


def _times(
    run: Callable[[], object], seconds: float, warm_up: int = _WARM_UP, wanted: int = _WANTED
) -> list[float]:
    """Seconds of each run, for so long, or longer where there are not so many as wanted."""
    for _ in range(warm_up):
        run()
    times: list[float] = []
    least, begin = min(_LEAST, wanted), time.perf_counter()
    while len(times) < _MOST:
        start = time.perf_counter()
        allowed = seconds * (_PATIENCE if len(times) < wanted else 1)
        if len(times) >= least and start - begin >= allowed:
            break
        run()
        times.append(time.perf_counter() - start)
    return times


def _memory(what: str) -> int:
    """Bytes of this process's memory: VmRSS now, or VmHWM at its peak; the peak only, off Linux.

    Not `ru_maxrss` where it can be had otherwise: Linux starts that at the parent's memory.
    """
    status = Path("/proc/self/status")
    if not status.is_file():
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    lines = status.read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


if __name__ == "__main__":
    file, runtime, threads, size, seconds = sys.argv[1:]
    print(json.dumps(measure(Path(file), runtime, int(threads), int(size), float(seconds))))
