"""Training images a second against loader processes, beside what a network asks for.

Makes its own data (noisy gradients, 112x112, JPEG quality 95) in a temporary folder: a `.rec`, and
the same as tar shards of 500, read by index and as a stream. What is timed is the loop's own
loader, from its first batch to its last; sources and numbers of workers take turns, and each rate
is the median over the rounds. The processor time (microseconds an image, in the main process and
in the workers, their start included) says what a machine with cores to spare would do when this
one is busy. The networks learn from random images, without a classifier, in seconds of processor
time of one core; beside them stand published rates of a GPU.

    python benchmarks/input.py [--images 4000] [--workers 0,1,2,4] [--rounds 3] [--json FILE]
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from time import perf_counter, process_time

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from recordio import write_records  # the benchmark beside this one

from facekd.data.augment import Augment
from facekd.data.batches import Batches
from facekd.data.faces import FaceSet, load_faces
from facekd.data.loader import make_loader
from facekd.data_tools.convert import convert
from facekd.files import write_text
from facekd.model import FaceModel
from facekd.recipe import Data

BATCH = 64
SHARD = 500
WIDTHS = (0.5, 1.0)
PUBLISHED = {  # images a second of one V100, an eighth of eight: cavaface docs/Speed.md
    "mobilefacenet, V100, float32": 7065 / 8,
    "mobilefacenet, V100, float16": 10240 / 8,
    "iresnet100, V100, float16": 3173 / 8,
}


def made_sets(folder: Path, images: int) -> dict[str, FaceSet]:
    """The same images by every way of reading them."""
    write_records(folder / "all.rec", images)
    convert(folder / "all.rec", folder / "shards", to="tar", shuffle=0, shard_images=SHARD)
    shards = str(folder / "shards")
    settings = {
        "rec": Data(source=str(folder / "all.rec")),
        "shards by index": Data(source=shards),
        "shards as a stream": Data(source=shards, reading="stream"),
    }
    return {name: load_faces(data, 112)[0] for name, data in settings.items()}


def cpu_seconds() -> NDArray[np.float64]:
    """Processor time so far, of this process and of its ended children."""
    used = (getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
    return np.array([u.ru_utime + u.ru_stime for u in used])


def read_epoch(faces: FaceSet, workers: int, epoch: int) -> tuple[float, NDArray[np.float64]]:
    """Images a second behind the first batch, and microseconds of processor time an image."""
    steps = len(faces) // BATCH
    augment, used = Augment(), cpu_seconds()
    batches = Batches(
        len(faces), BATCH, 0, augment, epoch * steps, (epoch + 1) * steps, order=faces.order
    )
    stream = faces.order is not None
    loader = iter(make_loader(faces, batches, augment, workers=workers, stream=stream))
    next(loader)
    start = perf_counter()
    count = sum(len(batch.images) for batch in loader)
    rate = count / (perf_counter() - start)
    del loader  # its processes end
    return rate, (cpu_seconds() - used) / (steps * BATCH) * 1e6


def measure_reading(sets: dict[str, FaceSet], workers: list[int], rounds: int) -> dict[str, object]:
    """Rates and processor times of every source and number of workers."""
    rates: dict[tuple[str, int], list[float]] = {}
    cpu: dict[tuple[str, int], list[NDArray[np.float64]]] = {}
    for number in range(rounds):
        for count in workers:
            for name, faces in sets.items():
                rate, used = read_epoch(faces, count, number)
                rates.setdefault((name, count), []).append(rate)
                cpu.setdefault((name, count), []).append(used)
    result: dict[str, object] = {}
    for (name, count), found in rates.items():
        main, theirs = np.median(cpu[name, count], axis=0).tolist()
        result[f"{name}, {count} workers"] = {
            "images_per_s": median(found),
            "main_cpu_us": main,
            "workers_cpu_us": theirs,
        }
    return result


def training_rate(width: float, steps: int) -> float:
    """Images that mobilefacenet learns from in a second of one core: forward, backward, SGD."""
    torch.set_num_threads(1)
    model = FaceModel.create("mobilefacenet", width=width).train()
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    images = torch.randint(0, 256, (BATCH, 3, 112, 112), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(steps + 1):
        start = process_time()
        model(images).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(process_time() - start)
    return BATCH / median(seconds[1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--workers", default="0,1,2,4")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    workers = [int(count) for count in arguments.workers.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        sets = made_sets(Path(folder), arguments.images)
        reading = measure_reading(sets, workers, arguments.rounds)
    asked = {
        f"mobilefacenet width {w}, a core of this machine": training_rate(w, 5) for w in WIDTHS
    }
    asked |= PUBLISHED
    for name, values in reading.items():
        print(f"{name:30}", *(f"{key} {value:9,.0f}" for key, value in values.items()))
    for name, rate in asked.items():
        print(f"{name:46} asks for {rate:9,.0f} images/s")
    if arguments.json:
        about = {
            "images": arguments.images,
            "rounds": arguments.rounds,
            "cores": len(os.sched_getaffinity(0)),
            "opencv": cv2.__version__,
            "torch": torch.__version__,
            "machine": platform.machine(),
        }
        result = {"reading": reading, "asked_images_per_s": asked, **about}
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
