"""How fast a set is converted: `.rec` to `.rec`, folder and tar shards, and back.

Makes its own data (made-up images of 112x112, repeated to as many as wanted) in a temporary
folder. Rates are in images per second, the median over the rounds, flushing to the disk included;
memory is the most that converting `.rec` to `.rec` held beyond what stood mapped at its start.

    python benchmarks/convert.py [--records 20000] [--rounds 3] [--workers 2] [--json FILE]
"""

import argparse
import json
import platform
import tempfile
import tracemalloc
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from facekd.data_tools.convert import convert
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
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
        image = 128 + slope[0] * (x - 56) + slope[1] * (y - 56) + rng.normal(0, 4, (112, 112, 3))
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
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), arguments.records, arguments.rounds, arguments.workers)
    for name, value in result.items():
        print(f"{name:28} {value:,.1f}" if isinstance(value, float) else f"{name:28} {value}")
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


def measure(folder: Path, records: int, rounds: int, workers: int) -> dict[str, object]:
    """Rates in images per second, in one process; with several threads where a name says so."""
    rec, people, shards = folder / "bench.rec", folder / "people", folder / "shards"
    size = write_records(rec, records)
    ways = {
        "rec_to_rec": (rec, folder / "a" / "copy.rec", 1),
        "rec_to_rec_threads": (rec, folder / "b" / "copy.rec", workers),
        "rec_to_folder": (rec, people, 1),
        "folder_to_rec": (people, folder / "c" / "copy.rec", 1),
        "folder_to_rec_threads": (people, folder / "d" / "copy.rec", workers),
        "rec_to_tar": (rec, shards, 1),
        "tar_to_rec": (shards, folder / "e" / "copy.rec", 1),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (source, destination, threads) in ways.items():
            start = perf_counter()
            kind = "tar" if destination == shards else None
            convert(source, destination, to=kind, workers=threads, force=True)
            rates[name].append(records / (perf_counter() - start))
    same = (folder / "e" / "copy.rec").read_bytes() == rec.read_bytes()
    return {
        "records": records,
        "mean_jpeg_bytes": size,
        "threads": workers,
        **{f"{name}_per_s": median(values) for name, values in rates.items()},
        "bytes_same_after_all": same,
        "python_memory_bytes_per_record": _memory(rec, folder / "f" / "copy.rec") / records,
        "machine": platform.machine(),
    }


def _memory(source: Path, destination: Path) -> int:
    tracemalloc.start()
    convert(source, destination)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


if __name__ == "__main__":
    main()
