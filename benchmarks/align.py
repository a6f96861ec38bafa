"""How fast `facekd-data align` is beside its detector alone, in the same run.

The detector's own rate is that of as many processes as `align` has, with one thread of OpenCV's
each, that read and decode each image, as whoever has a folder must, and look at it (`find_faces`):
nothing is cut out or written. Beside it stands the rate of the same processes on images decoded
before. In every round one is timed after the other; ratios are medians over the rounds. The clock
runs from when all processes have their detector. Processor time is that of all processes from then
on, in microseconds an image: it tells the same on a busy machine, where rates mean little.

`align` reads, decodes and writes in threads beside the detector's. With a core to spare they cost
nothing; where every core has a process that detects, they cost what they need, and the ratio to
the detector on decoded images is at most detector / (detector + decoding + warp + writing).
Without --images it makes photographs of drawn faces, in which a detector may find nothing and look
twice: then give real ones.

    python benchmarks/align.py --detector YUNET.onnx [--images FOLDER] [--size 640] [--workers 1]
"""

import argparse
import json
import multiprocessing
import tempfile
from functools import partial
from multiprocessing import util
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import cv2
import numpy as np

from facekd.data_tools.align_set import list_photographs
from facekd.data_tools.align_workers import Photograph, Settings, align_each
from facekd.data_tools.detect import YuNet, find_faces
from facekd.data_tools.file_images import FileImages
from facekd.data_tools.images import encode_jpeg, resize
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.files import write_text

SPAWN = multiprocessing.get_context("spawn")


def write_drawn(folder: Path, photographs: int) -> None:
    """Write drawn faces in grey pictures of 250x250."""
    faces = SyntheticFaces(photographs, 1, size=112)
    for i in range(photographs):
        picture = np.full((250, 250, 3), 110, np.uint8)
        picture[69:181, 69:181] = faces.image(i)
        (folder / f"{i}.jpg").write_bytes(encode_jpeg(picture))


def write_enlarged(source: Path, folder: Path, size: int) -> None:
    """Write the photographs below a folder once more, `size` pixels wide and high."""
    files = FileImages([source / p.image for p in list_photographs(source)])
    for i in range(len(files)):
        (folder / f"{i}.jpg").write_bytes(encode_jpeg(resize(files[i], size)))


class Clock:
    """Starts when the last of several processes is ready.

    Args:
        processes: How many there are.
    """

    def __init__(self, processes: int) -> None:
        self._all: Barrier = SPAWN.Barrier(processes)
        self._start: Synchronized[float] = SPAWN.Value("d", 0.0)
        self._used: Synchronized[float] = SPAWN.Value("d", 0.0)
        self._used_here = process_time()

    def ready(self) -> None:
        """Wait for the others; what is used from then on is told when this process ends."""
        self._used_here = process_time()
        util.Finalize(None, self._add, exitpriority=0)
        self._all.wait()
        self._start.value = perf_counter()

    def _add(self) -> None:
        with self._used.get_lock():
            self._used.value += process_time() - self._used_here

    def read(self) -> tuple[float, float]:
        """Seconds since then, and of processor time in all processes, which have ended."""
        seconds = perf_counter() - self._start.value
        return seconds, self._used.value + process_time() - self._used_here


def open_and_wait(detector: str, clock: Clock) -> YuNet:
    """A detector, when every process has one."""
    net = YuNet(detector)
    clock.ready()
    return net


def look(files: FileImages, detector: str, clock: Clock, repeats: int, decoded: bool) -> None:
    """Look at images, decoded before or now."""
    cv2.setNumThreads(0)
    images = list(files) if decoded else files
    net = open_and_wait(detector, clock)
    for _ in range(repeats):
        for image in images:
            find_faces(net, image)


def time_looks(
    files: FileImages, detector: str, workers: int, repeats: int, decoded: bool
) -> tuple[float, float]:
    """As `Clock.read`, of processes that look at all images so many times each."""
    clock = Clock(workers)
    how = (files, detector, clock, repeats, decoded)
    processes = [SPAWN.Process(target=look, args=how) for _ in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return clock.read()


def time_align(
    source: Path, photographs: list[Photograph], detector: str, workers: int
) -> tuple[float, float]:
    """As `Clock.read`, of `align_each`."""
    clock = Clock(workers)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(source, Path(folder), partial(open_and_wait, detector, clock))
        for _ in align_each(settings, photographs, workers):
            pass
        return clock.read()


def measure(
    source: Path, detector: str, workers: int, rounds: int, repeats: int
) -> dict[str, float]:
    """Images per second of all three, and the ratios."""
    photographs = list_photographs(source)
    files = FileImages([source / p.image for p in photographs])
    looks, reads, aligns = [], [], []
    for _ in range(rounds):
        looks.append(time_looks(files, detector, workers, repeats, decoded=True))
        aligns.append(time_align(source, photographs * repeats * workers, detector, workers))
        reads.append(time_looks(files, detector, workers, repeats, decoded=False))
    count = len(files) * repeats * workers
    result: dict[str, float] = {"images": count, "workers": workers}
    for name, times in (("decoded", looks), ("detector", reads), ("align", aligns)):
        result[f"{name}_per_s"] = count / median(seconds for seconds, _ in times)
        result[f"{name}_cpu_us"] = 1e6 * median(used for _, used in times) / count
    for name, times in (("ratio", reads), ("ratio_decoded", looks)):
        for i, what in enumerate(("", "_cpu")):
            pairs = zip(times, aligns, strict=True)
            result[name + what] = median(one[i] / other[i] for one, other in pairs)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", required=True, help="YuNet's ONNX file")
    parser.add_argument("--images", type=Path, help="a folder of photographs")
    parser.add_argument("--size", type=int, help="enlarge them to so many pixels")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=5, help="of the images, each process")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as drawn, tempfile.TemporaryDirectory() as enlarged:
        source = arguments.images or Path(drawn)
        if arguments.images is None:
            write_drawn(source, 200)
        if arguments.size is not None:
            write_enlarged(source, Path(enlarged), arguments.size)
            source = Path(enlarged)
        how = (arguments.detector, arguments.workers, arguments.rounds, arguments.repeats)
        result = measure(source, *how)
    print(f"{arguments.workers} process(es), {result['images']} images a round")
    for name, what in (
        ("detector", "detector on files"),
        ("decoded", "detector on decoded images"),
        ("align", "align"),
    ):
        rate, used = result[f"{name}_per_s"], result[f"{name}_cpu_us"]
        print(f"{what:28}{rate:6.0f} images/s {used:8.0f} us of processor time an image")
    for name, what in (("ratio", "files"), ("ratio_decoded", "decoded images")):
        ratio, used = result[name], result[f"{name}_cpu"]
        print(f"align / detector on {what:16}{ratio:.3f}, by processor time {used:.3f}")
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
