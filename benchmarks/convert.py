"""How fast a set is converted, with one worker and with several, and what memory it takes.

Makes its own data in a temporary folder: made-up images of 112x112, repeated to as many as wanted,
and a `.rec` with its `.lst` of a million images of a few bytes. Rates are in images per second,
the median over the rounds, flushing to the disk included; processor time is that of all processes,
in microseconds an image. Memory is what one process holds beyond what it held at its start (mapped
files not counted), in bytes an image: while a set is open, and at most while it is converted.

    python benchmarks/convert.py [--records 20000] [--rounds 3] [--workers 2] [--tiny 1000000]
"""

import argparse
import json
import multiprocessing
import os
import platform
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from threading import Event, Thread
from time import perf_counter

import numpy as np

from facekd.data_tools.convert import convert
from facekd.data_tools.facerec import FaceRecords
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.items import Item
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.writers import write_set
from facekd.files import write_text

IMAGES_PER_IDENTITY = 10
DIFFERENT = 500


def write_records(path: Path, records: int) -> float:
    """Write plain im2rec records, as many bytes each as a face crop has; the mean of the bytes."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:112, :112][..., None]
    images = []
    for _ in range(DIFFERENT):
        slope = rng.uniform(-1, 1, (2, 3))
        image = 128 + slope[0] * (x - 56) + slope[1] * (y - 56) + rng.normal(0, 8, (112, 112, 3))
        images.append(encode_jpeg(image.clip(0, 255).astype(np.uint8)))
    with RecordWriter(path) as writer:
        for i in range(records):
            writer.write(i, pack(IRHeader(i // IMAGES_PER_IDENTITY, i), images[i % DIFFERENT]))
    return float(np.mean([len(image) for image in images]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tiny", type=int, default=1_000_000)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    result: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        if arguments.records:
            result |= speed(
                Path(folder), arguments.records, arguments.rounds, [1, arguments.workers]
            )
        if arguments.tiny:
            result |= memory(Path(folder), arguments.tiny)
    result |= {"processors": os.cpu_count(), "machine": platform.machine()}
    for name, value in result.items():
        print(f"{name:40} {value:,.1f}" if isinstance(value, float) else f"{name:40} {value}")
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


def speed(folder: Path, records: int, rounds: int, workers: list[int]) -> dict[str, object]:
    """Images per second and processor time of each conversion, for each number of workers."""
    rec, people, shards = folder / "bench.rec", folder / "people", folder / "shards"
    size = write_records(rec, records)
    ways = {
        "rec_to_rec": (rec, folder / "a" / "copy.rec"),
        "rec_to_folder": (rec, people),
        "folder_to_rec": (people, folder / "b" / "copy.rec"),
        "rec_to_tar": (rec, shards),
        "tar_to_rec": (shards, folder / "c" / "copy.rec"),
    }
    result: dict[str, object] = {"records": records, "mean_jpeg_bytes": size}
    same = True
    for name, (source, destination) in ways.items():
        for count in workers:
            rates, costs = [], []
            for _ in range(rounds):
                start, used = perf_counter(), sum(os.times()[:4])
                kind = "tar" if destination == shards else None
                convert(source, destination, to=kind, workers=count, force=True)
                rates.append(records / (perf_counter() - start))
                costs.append(1e6 * (sum(os.times()[:4]) - used) / records)
            result[f"{name}_workers_{count}_per_s"] = median(rates)
            result[f"{name}_workers_{count}_cpu_us"] = median(costs)
            if destination.suffix == ".rec":
                same &= destination.read_bytes() == rec.read_bytes()
    return result | {"bytes_same": same}


def memory(folder: Path, images: int) -> dict[str, object]:
    """Bytes an image that one process holds, of a `.rec` of tiny images with a list of names."""
    items = (
        Item(f"{i // 60:06d}", f"{i % 60}.jpg", i // 60, b"\xff\xd8%d\xff\xd9" % i)
        for i in range(images)
    )
    rec = folder / "tiny.rec"
    write_set(items, rec)
    bare = folder / "bare.rec"
    for suffix in (".rec", ".idx"):
        os.link(rec.with_suffix(suffix), bare.with_suffix(suffix))
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        return {
            "tiny_images": images,
            **{
                f"memory_{name}_{what}": value / images
                for name, source, work in [
                    ("face_records", bare, _open_records),
                    ("open", bare, _open),
                    ("open_with_list", rec, _open),
                    ("convert_to_rec", bare, _convert_to_rec),
                    ("convert_to_tar_with_list", rec, _convert_to_tar),
                    ("open_tar", folder / "tiny.tar", _open),
                ]
                for what, value in pool.apply(_held, (work, source)).items()
            },
        }


def _open_records(path: Path) -> object:
    return FaceRecords(path)


def _open(path: Path) -> object:
    return open_labelled(path)


def _convert_to_rec(path: Path) -> object:
    return convert(path, path.with_name("copy") / "copy.rec")


def _convert_to_tar(path: Path) -> object:
    return convert(path, path.with_suffix(".tar"))


def _held(work: Callable[[Path], object], path: Path) -> dict[str, float]:
    """What the work's result keeps of memory, and the most that was held meanwhile."""
    before, most, done = _anonymous(), [0], Event()

    def look() -> None:
        while not done.wait(0.01):
            most[0] = max(most[0], _anonymous())

    watcher = Thread(target=look)
    watcher.start()
    kept = work(path)
    done.set()
    watcher.join()
    after = _anonymous()
    del kept
    return {"kept": float(after - before), "most": float(max(most[0], after) - before)}


def _anonymous() -> int:
    """Bytes of this process that are no mapped files."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return 1024 * int(found[1])


if __name__ == "__main__":
    main()
