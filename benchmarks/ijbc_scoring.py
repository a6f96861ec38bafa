"""How long the scoring of IJB-C takes, beside insightface's own ijb_11.py in the same run.

Makes a set of IJB-C's size first (ijbc_made.py: 2 GB, half a minute; kept and used again). Then,
round after round, one after the other, each as a process of its own, from its start to its end:

- ours: `facekd-eval --bench DIR/IJBC --embeddings DIR/embeddings.npy --halves --no-figures`;
- insightface's: insightface_ijb_11.py, which runs their script without embedding and figure.

Memory is the highest anonymous memory (RssAnon, looked up every 10 ms) of the process and its
children: what the process holds besides the pages of mapped files. The embeddings are read once
before, so that neither waits for the disk.

    python benchmarks/ijbc_scoring.py DIR [--insightface CLONE] [--scale 0.01] [--shuffle]
                                      [--rounds 3] [--json FILE]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter, sleep

import numpy as np
from ijbc_made import Size, make

from facekd.files import write_text

THEIRS = Path(__file__).with_name("insightface_ijb_11.py")


@dataclass(frozen=True)
class Cost:
    """Of one process: seconds by the clock, seconds of processor time, anonymous memory in MiB."""

    seconds: float
    processor_s: float
    peak_mib: float


def run(command: list[str], folder: Path) -> Cost:
    """Run a command in a folder and watch it; its output goes to `output.txt` there."""
    before = os.times()
    with open(folder / "output.txt", "w") as output:
        start = perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        peak = 0
        while process.poll() is None:
            peak = max(peak, _anonymous_kib(process.pid))
            sleep(0.01)
        seconds = perf_counter() - start
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{(folder / 'output.txt').read_text()}")
    after = os.times()
    processor = after.children_user - before.children_user
    processor += after.children_system - before.children_system
    return Cost(seconds, processor, peak / 1024)


def _anonymous_kib(pid: int) -> int:
    """RssAnon of a process and its children; 0 for one that has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = [int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")]
    return sum(own) + sum(_anonymous_kib(int(child)) for child in children)


def measure(made: Path, clone: Path | None, rounds: int) -> dict[str, object]:
    """Costs of both, alternately; ratios are the medians over the rounds."""
    embeddings = np.load(made / "embeddings.npy", mmap_mode="r")
    for start in range(0, len(embeddings), 1 << 14):
        embeddings[start : start + (1 << 14)].sum()
    ours, theirs, apart = [], [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "IJBC").symlink_to(made / "IJBC")
            ours.append(run(_our_command(made), folder))
            if clone:
                theirs.append(run([sys.executable, str(THEIRS), str(clone), str(made)], folder))
                apart.append(_apart(folder))
    result: dict[str, object] = {
        "rounds": rounds,
        "machine": platform.machine(),
        "processors": os.cpu_count(),
    }
    result |= _summary("facekd", ours)
    if clone:
        result |= _summary("ijb_11.py", theirs)
        ratios = [a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True)]
        result["facekd / ijb_11.py"] = median(ratios)
        result["facekd / ijb_11.py, worst"] = max(ratios)
        result["scores at most apart"] = max(apart)
        result["scores equal to 1e-6"] = max(apart) <= 1e-6
    return result


def _our_command(made: Path) -> list[str]:
    command = [str(Path(sys.executable).with_name("facekd-eval")), "--bench", str(made / "IJBC")]
    command += ["--embeddings", str(made / "embeddings.npy"), "--halves"]
    return [*command, "--no-figures", "--out", "report"]


def _apart(folder: Path) -> float:
    """The greatest difference between the two runs' scores."""
    (saved,) = (folder / "report").rglob("*.npz")
    with np.load(saved) as arrays:
        (ours,) = arrays["scores"]
    return float(np.abs(ours - np.load(folder / "IJBC_result" / "insightface.npy")).max())


def _summary(who: str, costs: list[Cost]) -> dict[str, object]:
    return {
        f"{who}, s": median(cost.seconds for cost in costs),
        f"{who}, s of processor time": median(cost.processor_s for cost in costs),
        f"{who}, peak anonymous MiB": max(cost.peak_mib for cost in costs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="DIR", help="where the made set is kept")
    parser.add_argument("--insightface", type=Path, metavar="CLONE")
    parser.add_argument("--scale", type=float, default=1.0, help="of the set's size (default: 1)")
    parser.add_argument("--shuffle", action="store_true", help="list the pairs in any order")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    made = arguments.folder.absolute()
    make(made, Size().scaled(arguments.scale), arguments.shuffle)
    clone = arguments.insightface and arguments.insightface.absolute()
    result = measure(made, clone, arguments.rounds)
    for name, value in result.items():
        print(f"{name:32} {value:,.3g}" if isinstance(value, float) else f"{name:32} {value}")
    if arguments.json:
        write_text(arguments.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
