"""How fast `facekd-data align` is beside its detector alone, in the same run.

The detector's own rate is that of as many processes as `align` has, with one thread of OpenCV's
each, that do nothing but look (`find_faces`) at images decoded before: no file is read, nothing is
decoded, cut out or written. The rate on files is that of the same processes when they read and
decode each image first, as whoever has a folder must. In every round one is timed after the other;
ratios are medians over the rounds. The clock runs from when all processes have their detector.

`align` reads, decodes and writes in threads beside the detector's. With a core to spare they cost
nothing; where every core has a process that detects, they cost what they need, and the ratio is
at most detector / (detector + decoding + warp + writing). Without --images it makes photographs of
drawn faces, in which a detector may find nothing and look twice: then give real ones.

    python benchmarks/align.py --detector YUNET.onnx [--images FOLDER] [--size 640] [--workers 1]
"""

import argparse
import json
import multiprocessing
import tempfile
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median
from time import perf_counter

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

    def ready(self) -> None:
        """Wait for the others."""
        self._all.wait()
        self._start.value = perf_counter()

    def seconds(self) -> float:
        """Since then."""
        return perf_counter() - self._start.value


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
) -> float:
    """Seconds that processes take which look at all images so many times each."""
    clock = Clock(workers)
    how = (files, detector, clock, repeats, decoded)
    processes = [SPAWN.Process(target=look, args=how) for _ in range(workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return clock.seconds()


def time_align(source: Path, photographs: list[Photograph], detector: str, workers: int) -> float:
    """Seconds that `align_each` takes."""
    clock = Clock(workers)
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(source, Path(folder), partial(open_and_wait, detector, clock))
        for _ in align_each(settings, photographs, workers):
            pass
        return clock.seconds()


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
    return {
        "images": count,
        "workers": workers,
        "detector_per_s": count / median(looks),
        "detector_on_files_per_s": count / median(reads),
        "align_per_s": count / median(aligns),
        "ratio": median(one / other for one, other in zip(looks, aligns, strict=True)),
        "ratio_on_files": median(one / other for one, other in zip(reads, aligns, strict=True)),
    }


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
    print(
        f"{arguments.workers} process(es): detector alone {result['detector_per_s']:.0f} images/s, "
        f"on files {result['detector_on_files_per_s']:.0f}; align {result['align_per_s']:.0f}: "
        f"ratio {result['ratio']:.3f}, on files {result['ratio_on_files']:.3f}"
    )
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
