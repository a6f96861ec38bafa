"""How fast the image stage feeds a network: decode and warp in 0, 1, 2 ... worker processes.

Makes its own IJB-like data (noisy gradients of about 200x200, JPEG quality 95, five landmarks) in a
temporary folder. The network is a trivial one, so that the stage itself is timed; the numbers of
workers take turns, and each ratio to none is the median over the rounds.

    python benchmarks/embedding.py [--images 4000] [--workers 0,1,2] [--rounds 5] [--json FILE]
"""

import argparse
import json
import platform
import tempfile
from dataclasses import dataclass
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import median
from time import perf_counter

import cv2
import numpy as np
from numpy.typing import NDArray

from facekd.data_tools.align import TEMPLATE
from facekd.data_tools.ijb_faces import IjbImages
from facekd.data_tools.images import encode_jpeg
from facekd.eval.embed import embed_images
from facekd.files import write_text
from facekd.preprocess import Preprocess

DIFFERENT = 200  # images on disk; the list names them again and again


@dataclass
class Thumbnails:
    """A network that takes next to no time: one pixel of every 16 x 16."""

    preprocess: Preprocess
    name: str = "thumbnails"
    embedding_dim: int = 49

    def embed(self, images: NDArray[np.uint8], flip: bool = False) -> NDArray[np.float32]:
        """See `facekd.embedder.Embedder.embed`."""
        views = (images, images[:, :, ::-1]) if flip else (images,)
        small = [v[:, ::16, ::16, 1].reshape(len(images), -1).astype(np.float32) for v in views]
        return np.sum(small, axis=0, dtype=np.float32)


def made_faces(folder: Path, images: int) -> IjbImages:
    """Images on disk and where the landmarks lie in them: a crop's, larger, turned and shifted."""
    rng = np.random.default_rng(0)
    landmarks = np.empty((DIFFERENT, *TEMPLATE.shape), np.float32)
    for i in range(DIFFERENT):
        height, width = rng.integers(170, 230, 2)
        y, x = np.mgrid[:height, :width][..., None]
        slope = rng.uniform(-0.5, 0.5, (2, 3))
        image = 128 + slope[0] * (x - 100) + slope[1] * (y - 100)
        image += rng.normal(0, 4, (height, width, 3))
        (folder / f"{i}.jpg").write_bytes(encode_jpeg(image.clip(0, 255).astype(np.uint8)))
        angle = rng.normal(0, 0.2)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        landmarks[i] = (TEMPLATE - 56) @ turn * 1.4 + (width / 2, height / 2)
    row = np.arange(images) % DIFFERENT
    names = np.array([f"{i}.jpg" for i in row])
    return IjbImages(folder, names, landmarks[row], np.ones(images, bool), folder / "made.txt")


def cpu_seconds() -> NDArray[np.float64]:
    """Processor time so far, of this process and of its ended children."""
    used = (getrusage(who) for who in (RUSAGE_SELF, RUSAGE_CHILDREN))
    return np.array([u.ru_utime + u.ru_stime for u in used])


def measure(faces: IjbImages, workers: list[int], rounds: int) -> dict[str, object]:
    """Images a second for each number of workers, start of the processes included.

    The processor time (microseconds an image, in the main process and in the workers) says what a
    machine with cores to spare would do when this one is busy.
    """
    model = Thumbnails(Preprocess(112))
    seconds: dict[int, list[float]] = {count: [] for count in workers}
    cpu: dict[int, list[NDArray[np.float64]]] = {count: [] for count in workers}
    for _ in range(rounds):
        for count in workers:
            used, start = cpu_seconds(), perf_counter()
            embed_images(faces, model, workers=count)  # type: ignore[arg-type]  # arrays only
            seconds[count].append(perf_counter() - start)
            cpu[count].append(cpu_seconds() - used)
    result: dict[str, object] = {"images": len(faces)}
    for count in workers:
        ratios = zip(seconds[workers[0]], seconds[count], strict=True)
        main, children = np.median(cpu[count], axis=0) / len(faces) * 1e6
        result |= {
            f"images_per_s_{count}_workers": len(faces) / median(seconds[count]),
            f"{count}_over_{workers[0]}_workers": median(base / time for base, time in ratios),
            f"{count}_workers_main_cpu_us": float(main),
            f"{count}_workers_their_cpu_us": float(children),
        }
    return result | {"opencv": cv2.__version__, "machine": platform.machine()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--workers", default="0,1,2")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        faces = made_faces(Path(folder), arguments.images)
        workers = [int(count) for count in arguments.workers.split(",")]
        result = measure(faces, workers, arguments.rounds)
    for name, value in result.items():
        print(f"{name:28} {value:,.3f}" if isinstance(value, float) else f"{name:28} {value}")
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
