"""How fast records are read and decoded, beside bare cv2.imdecode in the same run.

Makes its own data (noisy gradients, 112x112, JPEG quality 95) in a temporary folder. The two decode
rates alternate over the same images; their ratio is the median over the rounds.

    python benchmarks/recordio.py [--records 4000] [--rounds 9] [--json FILE]
"""

import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import cv2
import numpy as np

from facekd.data_tools.facerec import FaceRecords
from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.files import write_text


def write_records(path: Path, records: int) -> None:
    """Write plain im2rec records of made-up images, as many bytes each as a face crop has."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:112, :112][..., None]
    with RecordWriter(path) as writer:
        for i in range(records):
            slope = rng.uniform(-1, 1, (2, 3))
            image = (
                128 + slope[0] * (x - 56) + slope[1] * (y - 56) + rng.normal(0, 4, (112, 112, 3))
            )
            jpeg = encode_jpeg(image.clip(0, 255).astype(np.uint8))
            writer.write(i, pack(IRHeader(i // 10, i), jpeg))


def rate(work: Callable[[int], object], records: int, repeats: int = 1) -> float:
    """Records per second of calling `work` on each record in turn."""
    start = perf_counter()
    for _ in range(repeats):
        for i in range(records):
            work(i)
    return repeats * records / (perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.rec"
        write_records(path, arguments.records)
        result = measure(FaceRecords(path), arguments.rounds)
    for name, value in result.items():
        print(f"{name:28} {value:,.3f}" if isinstance(value, float) else f"{name:28} {value}")
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


def measure(records: FaceRecords, rounds: int) -> dict[str, object]:
    """Rates in records per second, one process and one thread."""
    n = len(records)
    arrays = [np.frombuffer(bytes(records.encoded(i)), np.uint8) for i in range(n)]
    read = [rate(records.encoded, n, repeats=20) for _ in range(rounds)]
    bare, ours = [], []
    for _ in range(rounds):
        bare.append(rate(lambda i: cv2.imdecode(arrays[i], cv2.IMREAD_COLOR), n))
        ours.append(rate(lambda i: decode_rgb(records.encoded(i)), n))
    return {
        "records": n,
        "mean_jpeg_bytes": float(np.mean([len(a) for a in arrays])),
        "read_per_s": median(read),
        "bare_imdecode_per_s": median(bare),
        "read_and_decode_per_s": median(ours),
        "read_and_decode_over_bare": median(o / b for o, b in zip(ours, bare, strict=True)),
        "read_and_decode_over_bare_min": min(o / b for o, b in zip(ours, bare, strict=True)),
        "opencv": cv2.__version__,
        "machine": platform.machine(),
    }


if __name__ == "__main__":
    main()
