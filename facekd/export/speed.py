"""How long ONNX files take for one image, beside each other."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facekd.export.facts import INPUT_NAME

ROUNDS, SECONDS = 200, 20.0


def latencies(files: Sequence[Path], size: int, seconds: float = SECONDS) -> list[float]:
    """Median time of one image in onnxruntime on the CPU, one thread, in seconds.

    The files take turns, so that whatever else the machine does falls on all of them alike: their
    ratios are worth more than the times.

    Args:
        files: Written by `facekd.export`.
        size: Side of the input, pixels.
        seconds: Stop after that time, or after 200 rounds, but not before the fifth.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    cpu = ["CPUExecutionProvider"]
    sessions = [onnxruntime.InferenceSession(str(f), options, cpu) for f in files]
    noise = np.random.default_rng(0).uniform(-1, 1, (1, 3, size, size))
    image = {INPUT_NAME: noise.astype(np.float32)}
    for session in sessions:
        session.run(None, image)
    times: list[list[float]] = []
    end = time.perf_counter() + seconds
    while len(times) < ROUNDS and (time.perf_counter() < end or len(times) < 5):
        times.append([_seconds(session, image) for session in sessions])
    return [float(median) for median in np.median(times, axis=0)]


def _seconds(session: Any, image: Mapping[str, Any]) -> float:
    start = time.perf_counter()
    session.run(None, image)
    return time.perf_counter() - start
