"""What a classifier costs a training step as identities grow: all classes in a step, or a tenth.

A step is the head's share of one: embeddings that are there, margin softmax (ArcFace), gradients of
embeddings and weight, the gradient's norm, SGD with momentum, in float32. Each line is a process of
its own, and its memory the process's peak less what it held before the head was made; on CUDA the
device's peak. What would not fit into the memory that is free is left out and says so.

`--processes N` spreads the head over N processes of this machine (gloo, or NCCL with a device
each); the batch is that of all of them, the memory that of one.

Then the same for 2 M identities on 8 devices by arithmetic: per device, with C identities, N images
of all devices, width d, W devices, sample rate r, in bytes of float32:

    4 d C/W (1 + 1 + 2 r)       weight, momentum, gradient and one more while it is made
  + 4 d r C/W 2                 r < 1: the drawn rows of weight and momentum, copied
  + 4 N r C/W k                 logits; k: what the measured peak leaves for them, in copies

beside the memory that insightface published (arcface_torch/docs/speed_benchmark.md, 8 V100, R50,
batch 1024, MB; its heading says GB). Differences between two numbers of identities are the head's.

    python benchmarks/head_scale.py [--identities 100000 300000 1000000] [--batch 64]
        [--rates 1 0.1] [--processes 1] [--device cpu] [--json FILE]
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter

import torch
import torch.distributed as dist

from facekd.distill.margin import Margin
from facekd.distill.term import Step
from facekd.files import in_bytes, write_text
from facekd.heads import ShardedClassifier
from facekd.heads.drawn_rows import step_drawn_rows_alone
from facekd.ranks import world
from facekd.train.clipping import clip_gradients

WIDTH = 512
COPIES = 5.0  # of the logits, to see beforehand what fits
PUBLISHED = {  # identities: data parallel, model parallel, Partial FC 0.1; MB a device
    125_000: (7358, 5306, 4868),
    1_000_000: (23708, 9966, 5620),
    2_000_000: (None, 13978, 6472),
    5_500_000: (None, 32188, 9854),
    29_000_000: (None, None, 32324),
}


def head_bytes(own: int, images: int, rate: float, copies: float) -> float:
    """The module's arithmetic, for a device with `own` identities."""
    copied = 2 * rate if rate < 1 else 0.0
    return 4.0 * own * (WIDTH * (2 + 2 * rate + copied) + images * rate * copies)


def one(identities: int, rate: float, batch: int, device: str, steps: int) -> dict[str, float]:
    """Median seconds of a step after two to warm up, and what they add to the peak of memory."""
    images = batch // world()
    torch.manual_seed(0)
    before = _peak(device)
    head = ShardedClassifier(identities, WIDTH, sample_rate=rate).to(device)
    optimizer = torch.optim.SGD([head.weight], lr=0.1, momentum=0.9, weight_decay=5e-4)
    step_drawn_rows_alone(optimizer)
    margin, times = Margin(scale=64.0), []
    for _ in range(steps + 2):
        labels = torch.randint(identities, (images,), device=device)
        embeddings = torch.randn(images, WIDTH, device=device, requires_grad=True)
        _wait(device)
        start = perf_counter()
        optimizer.zero_grad()
        margin(Step(embeddings, labels, labels, student_head=head)).backward()
        clip_gradients({"head": head.weight}, 5.0, {"head"})
        optimizer.step()
        _wait(device)
        times.append(perf_counter() - start)
    return {"seconds": median(times[2:]), "bytes": _peak(device) - before}


def _peak(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _one_process(arguments: argparse.Namespace) -> None:
    """What the benchmark starts for each line: prints its numbers as JSON."""
    rank, processes, meeting = arguments.one
    if int(processes) > 1:
        if arguments.device == "cuda":
            torch.cuda.set_device(int(rank))
        dist.init_process_group(
            "nccl" if arguments.device == "cuda" else "gloo",
            init_method=f"file://{meeting}",
            rank=int(rank),
            world_size=int(processes),
        )
    settings = arguments.rates[0], arguments.batch, arguments.device, arguments.steps
    one(5000, *settings)  # loads and allocates what any step does
    print(json.dumps(one(arguments.identities[0], *settings)))
    if dist.is_initialized():
        dist.destroy_process_group()


def measure(identities: int, rate: float, arguments: argparse.Namespace) -> dict[str, float]:
    """The same in fresh processes; the first one's numbers."""
    common = [sys.executable, __file__, "--identities", identities, "--rates", rate]
    common += ["--batch", arguments.batch, "--device", arguments.device, "--steps", arguments.steps]
    with tempfile.TemporaryDirectory() as folder:
        running = [
            subprocess.Popen(
                [str(c) for c in (*common, "--one", r, arguments.processes, f"{folder}/meeting")],
                stdout=subprocess.PIPE,
                text=True,
            )
            for r in range(arguments.processes)
        ]
        told = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"{identities} identities at {rate}: a process failed")
    return dict(json.loads(told[0]))


def free_bytes(device: str) -> float:
    """Memory that nobody holds."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return float(fields["MemAvailable"].split()[0]) * 1024


def _line(name: str, rate: float, cells: list[str]) -> None:
    print(f"{name:>12} {rate:>5g} " + " ".join(f"{cell:>12}" for cell in cells))


def arithmetic(copies: dict[float, float]) -> None:
    """2 M identities on 8 devices, and the published rows beside it."""
    print("\nper device, 8 devices, 1024 images a step, 512-d, float32 (arithmetic); head alone,")
    print("beside insightface's whole step with R50 (published, 8 V100): each less its 125 k row")
    _line("identities", 0, ["head", "less 125 k", "published", "less 125 k"])
    for identities, published in PUBLISHED.items():
        for rate, (column, at) in {1.0: (1, 1.0), 0.1: (2, 0.1)}.items():
            k = copies.get(at, COPIES)
            ours = [head_bytes(n // 8, 1024, rate, k) for n in (identities, 125_000)]
            theirs, base = published[column], PUBLISHED[125_000][column]
            cells = [f"{ours[0] / 1e6:,.0f} MB", f"{(ours[0] - ours[1]) / 1e6:,.0f} MB"]
            cells += [f"{theirs:,} MB", f"{theirs - base:,} MB"] if theirs and base else ["-", "-"]
            _line(f"{identities:,}", rate, cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 0.1])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        _one_process(arguments)
        return
    rows: list[dict[str, float]] = []
    _line("identities", 0, ["ms a step", "images/s", "memory", "logits' k"])
    for identities in arguments.identities:
        for rate in arguments.rates:
            own = -(-identities // arguments.processes)
            wanted = head_bytes(own, arguments.batch, rate, COPIES) * arguments.processes
            if wanted > 0.9 * free_bytes(arguments.device):
                _line(f"{identities:,}", rate, [f"needs {in_bytes(int(wanted))}, not free"])
                continue
            found = measure(identities, rate, arguments)
            rest = found["bytes"] - head_bytes(own, arguments.batch, rate, 0.0)
            found["copies"] = rest / (4 * arguments.batch * rate * own)
            rows.append({"identities": identities, "rate": rate, **found})
            _line(
                f"{identities:,}",
                rate,
                [
                    f"{1e3 * found['seconds']:,.1f}",
                    f"{arguments.batch / found['seconds']:,.0f}",
                    in_bytes(int(found["bytes"])),
                    f"{found['copies']:.1f}",
                ],
            )
    copies = {rate: [r["copies"] for r in rows if r["rate"] == rate] for rate in arguments.rates}
    arithmetic({rate: found[-1] for rate, found in copies.items() if found})
    about = {"batch": arguments.batch, "processes": arguments.processes, "torch": torch.__version__}
    about |= {"device": arguments.device, "machine": platform.machine()}
    about |= {"threads": torch.get_num_threads(), "cores": len(os.sched_getaffinity(0))}
    print(f"\n{about}")
    if arguments.json:
        write_text(arguments.json, json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
