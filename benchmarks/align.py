"""How fast `facekd-data align` is beside its detector alone, in the same run.

The detector alone looks at the same images in one thread: decoded before, in memory; and from their
files, which it has to read and decode. In every round one is timed after the other; the ratios are
medians over the rounds. `align` reads and writes in threads beside the detector's, so a core that
others keep busy costs it more. Without --images it makes photographs of drawn faces, in which a
detector may find nothing and look twice: then give real ones.

    python benchmarks/align.py --detector YUNET.onnx [--images FOLDER] [--workers 1] [--json FILE]
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import cv2
import numpy as np

from facekd.data_tools.align_set import list_photographs
from facekd.data_tools.align_workers import Photograph, Settings, align_each
from facekd.data_tools.detect import YuNet, find_faces
from facekd.data_tools.file_images import FileImages
from facekd.data_tools.images import Image, encode_jpeg
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.files import write_text


def write_photographs(folder: Path, photographs: int) -> None:
    """Write drawn faces in grey pictures of 250x250."""
    faces = SyntheticFaces(photographs, 1, size=112)
    for i in range(photographs):
        picture = np.full((250, 250, 3), 110, np.uint8)
        picture[69:181, 69:181] = faces.image(i)
        path = folder / f"{i // 10}" / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_jpeg(picture))


def seconds(work: Callable[[], object]) -> float:
    """How long a piece of work takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def measure(
    source: Path, detector: str, workers: int, rounds: int, repeats: int
) -> dict[str, float]:
    """Images per second of both, and the ratio."""
    photographs = list_photographs(source)
    files = FileImages([source / p.image for p in photographs])
    images = list(files)
    looks, reads, rates = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(source, Path(folder), partial(YuNet, detector))
        net = YuNet(detector)
        _look(net, images)
        for _ in range(rounds):
            looks.append(seconds(lambda: [_look(net, images) for _ in range(repeats)]))
            reads.append(seconds(lambda: [_look(net, files) for _ in range(repeats)]))
            rates.append(seconds(lambda: _align(settings, photographs * repeats, workers)))
    count = len(images) * repeats
    return {
        "images": count,
        "workers": workers,
        "detector_per_s": count / median(looks),
        "detector_on_files_per_s": count / median(reads),
        "align_per_s": count / median(rates),
        "ratio": median(one / other for one, other in zip(looks, rates, strict=True)),
        "ratio_on_files": median(one / other for one, other in zip(reads, rates, strict=True)),
    }


def _look(net: YuNet, images: Iterable[Image]) -> None:
    for image in images:
        find_faces(net, image)


def _align(settings: Settings, photographs: list[Photograph], workers: int) -> None:
    for _ in align_each(settings, photographs, workers):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--detector", required=True, help="YuNet's ONNX file")
    parser.add_argument("--images", type=Path, help="a folder of photographs")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--repeats", type=int, default=5, help="of the images in a round")
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    cv2.setNumThreads(0)
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.images or Path(folder)
        if arguments.images is None:
            write_photographs(source, 200)
        how = (arguments.detector, arguments.workers, arguments.rounds, arguments.repeats)
        result = measure(source, *how)
    print(
        f"detector alone {result['detector_per_s']:.0f} images/s, on files "
        f"{result['detector_on_files_per_s']:.0f}; align {result['align_per_s']:.0f} with "
        f"{arguments.workers} worker(s): ratio {result['ratio']:.3f}, on files "
        f"{result['ratio_on_files']:.3f}"
    )
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
