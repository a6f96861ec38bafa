"""How long scoring every pair of a labelled set takes, and what a million images would take.

Makes its own embeddings (unit rows around a centre an identity, ten images each). Times exact TAR
at FARs from 1e-1 to 1e-8, for which every block is computed twice, and at 1e-7 and 1e-8 alone, for
which few are. The time for a million images is that of one pair times their number; half the
images are timed too, to see that the time of a pair does not grow. `torchrun` splits the blocks:

    python benchmarks/all_pairs.py [--images 20000] [--dim 512] [--rounds 3] [--json FILE]
    OMP_NUM_THREADS=1 torchrun --nproc-per-node 2 benchmarks/all_pairs.py
"""

import argparse
import json
import os
import platform
import tracemalloc
from contextlib import closing
from statistics import median
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from facekd.eval.all_pairs import score_all_pairs
from facekd.eval.operating import tar_at_far
from facekd.eval.together import Together
from facekd.files import write_text
from facekd.together import start

ALL_FARS = tuple(10.0**-k for k in range(1, 9))
LOW_FARS = ALL_FARS[-2:]
IMAGES_EACH = 10
MILLION_PAIRS = 1_000_000 * 999_999 // 2


def make_faces(images: int, dim: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embeddings of norm one and their labels, in no order."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, images // IMAGES_EACH, images)
    centres = rng.standard_normal((images // IMAGES_EACH, dim), dtype=np.float32)
    unit = centres[labels] + 1.6 * rng.standard_normal((images, dim), dtype=np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    return unit.astype(np.float32), labels


def seconds(
    images: int, dim: int, fars: tuple[float, ...], rounds: int, together: Together
) -> float:
    """The median time of scoring all pairs and reading TAR at each FAR."""
    unit, labels = make_faces(images, dim)
    times = []
    for _ in range(rounds):
        together.barrier()
        begin = perf_counter()
        scores = score_all_pairs(unit, labels, fars, together=together)
        for far in fars:
            tar_at_far(scores, far)
        times.append(perf_counter() - begin)
    return median(times)


def peak_mib(images: int, dim: int, together: Together) -> float:
    """The most memory held at once beside the embeddings, in MiB, by this process."""
    unit, labels = make_faces(images, dim)
    tracemalloc.start()
    score_all_pairs(unit, labels, ALL_FARS, together=together)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def measure(images: int, dim: int, rounds: int, together: Together) -> dict[str, object]:
    """Times in seconds; of a pair in nanoseconds; of a million images in hours."""
    pairs = images * (images - 1) // 2
    whole = seconds(images, dim, ALL_FARS, rounds, together)
    low = seconds(images, dim, LOW_FARS, rounds, together)
    half = seconds(images // 2, dim, ALL_FARS, rounds, together)
    return {
        "images": images,
        "pairs": pairs,
        "dim": dim,
        "processes": together.world,
        "threads_each": os.environ.get("OMP_NUM_THREADS", "as numpy likes"),
        "seconds": whole,
        "seconds_low_fars_only": low,
        "ns_per_pair": whole / pairs * 1e9,
        "ns_per_pair_half_the_images": half / (images // 2 * (images // 2 - 1) // 2) * 1e9,
        "peak_mib_beside_embeddings": peak_mib(images, dim, together),
        "million_images_hours": whole / pairs * MILLION_PAIRS / 3600,
        "million_images_hours_low_fars_only": low / pairs * MILLION_PAIRS / 3600,
        "cores": os.cpu_count(),
        "numpy": np.__version__,
        "machine": platform.machine(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    with closing(start()) as together:
        result = measure(arguments.images, arguments.dim, arguments.rounds, together)
        if together.rank:
            return
    for name, value in result.items():
        print(f"{name:36} {value:,.3f}" if isinstance(value, float) else f"{name:36} {value}")
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
