"""`facekd-model bench`: size, arithmetic, time and memory of networks."""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_common import Commands, add_command
from facekd.cli._values import positive
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.eval.draw_latency import Timed
    from facekd.eval.table import Table
    from facekd.export.bench import Cost

OUT = "runs/bench"
EXAMPLE = """examples:
  facekd-model bench student.pt
  facekd-model bench student.pt int8=student_int8.onnx teacher.onnx --out runs/bench
  facekd-model bench student.pt teacher.pt --report runs/eval/lfw     (accuracy against latency)
"""
MORE = """Each network is measured in torch and, exported, in onnxruntime, on the CPU with one
thread and with all, each in a process of its own; an .onnx file in onnxruntime alone. Latency is of
one image: median and 95th percentile. Throughput is of batches of 64. Memory is the most that the
process held, the runtime included, which holds what stands beside it before it loads a network.

Run it on a machine that does nothing else."""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    what = "size, multiply-accumulates, latency, throughput and memory of networks"
    parser = add_command(commands, "bench", what, EXAMPLE, more=MORE)
    parser.add_argument(
        "models",
        metavar="[NAME=]MODEL",
        nargs="+",
        help=".pt, .pth, .safetensors, .params or .onnx; NAME is by default the file's stem",
    )
    parser.add_argument(
        "--out", metavar="DIR", help=f"where bench.csv and the figure go (default: {OUT})"
    )
    parser.add_argument(
        "--report",
        metavar="DIR",
        help="of facekd-eval --out, with these networks: draw their accuracy against latency",
    )
    parser.add_argument("--bench", metavar="NAME", help="which of the report's, if it has several")
    parser.add_argument(
        "--threads",
        type=positive,
        action="append",
        default=[],
        metavar="N",
        help="measure with so many; may be given again (default: 1, and all there are)",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=2.0,
        metavar="S",
        help="how long each timing goes on, two a line of the table (default: 2)",
    )
    parser.set_defaults(work=_bench)


def _bench(asked: argparse.Namespace) -> None:
    from facekd.eval.table import as_text
    from facekd.export.bench import measure_costs
    from facekd.files import in_the_way, write_text

    models = _models(asked.models)
    folder = Path(asked.out or OUT)
    if (fault := in_the_way(folder)) is not None:
        raise FacekdError(f"{folder} cannot be written: {fault} is in the way; give another --out.")
    if asked.bench and not asked.report:
        raise FacekdError("--bench is one of a report's; give --report DIR, too.")
    accuracies = _accuracies(asked.report, asked.bench, list(models)) if asked.report else None

    def progress(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    costs = measure_costs(models, threads=asked.threads, seconds=asked.seconds, progress=progress)
    print(as_text(as_table(costs)))
    write_text(folder / "bench.csv", as_csv(costs))
    written = ["bench.csv"]
    if accuracies is not None:
        written += _draw(costs, *accuracies, folder)
    print(f"\nwrote {folder}/ ({', '.join(written)})")


def _models(given: Sequence[str]) -> dict[str, Path]:
    from facekd.cli._sources import named_file

    models: dict[str, Path] = {}
    for text in given:
        name, path = named_file("model", text)
        if name in models:
            raise FacekdError(f"two models are both named {name!r}; give one as NAME={path}.")
        models[name] = path
    return models


def _accuracies(
    report: str, bench: str | None, names: Sequence[str]
) -> "tuple[str, dict[str, Timed]]":
    """The bench's name, and each network's accuracy there; their times are not known yet."""
    from facekd.eval.draw_latency import Timed
    from facekd.eval.saved_report import read_report
    from facekd.eval.transfer import pick_name

    found = {
        one.name: {m.name: n.accuracy for m, n in one.verified() if n.accuracy is not None}
        for one in read_report(report).benches
    }
    judged = {name: models for name, models in found.items() if models}
    chosen = pick_name(list(judged), bench, "bench with an accuracy", report)
    where = f"{report}, bench {chosen}"
    accuracies = {}
    for name in names:
        accuracy = judged[chosen][pick_name(list(judged[chosen]), name, "model", where)]
        accuracies[name] = Timed(name, 0.0, accuracy.mean, accuracy.interval)
    return chosen, accuracies


def _draw(
    costs: "Sequence[Cost]", bench: str, accuracies: "dict[str, Timed]", folder: Path
) -> list[str]:
    """Accuracy against latency in onnxruntime, which has every network, with the fewest threads."""
    from dataclasses import replace

    from facekd.eval import draw_latency
    from facekd.eval.figures import write_figure

    fewest = min(cost.threads for cost in costs)
    networks = [
        replace(accuracies[cost.model], latency=1000 * cost.latency)
        for cost in costs
        if cost.runtime == "onnxruntime" and cost.threads == fewest
    ]
    condition = f"onnxruntime, CPU, {_threads(fewest)}"
    files = write_figure(
        draw_latency.size(networks),
        lambda figure: draw_latency.draw(figure, networks, bench, condition),
        folder / "accuracy-latency",
        ("png", "svg"),
    )
    return [path.name for path in files]


def as_table(costs: "Sequence[Cost]") -> "Table":
    """The measurements for a terminal, a Markdown page or LaTeX."""
    from facekd.eval.table import Table

    head = (
        *("model", "runtime", "threads", "params M", "MMAC", "file MB"),
        *("ms", "ms 95 %", "images/s", "peak MiB", "empty", "at 64"),
    )
    rows = tuple(
        (
            cost.model,
            cost.runtime,
            str(cost.threads),
            f"{cost.parameters / 1e6:.3f}",
            "-" if cost.macs is None else f"{cost.macs / 1e6:,.0f}",
            f"{cost.bytes / 1e6:.2f}",
            f"{1e3 * cost.latency:.2f}",
            f"{1e3 * cost.latency_p95:.2f}",
            f"{cost.images_per_second:,.1f}" + ("" if cost.batch > 1 else " (at 1)"),
            f"{cost.memory / 2**20:.0f}",
            f"{cost.memory_empty / 2**20:.0f}",
            f"{cost.memory_batch / 2**20:.0f}",
        )
        for cost in costs
    )
    title = (
        "One image on the CPU: median ms, 95th percentile; images/s in batches of 64; peak MiB of "
        "the process, with the runtime alone (empty), and in batches of 64"
    )
    return Table(title, head, rows)


def as_csv(costs: "Sequence[Cost]") -> str:
    """The measurements with the fields of `facekd.export.bench.Cost`: seconds and bytes."""
    text = io.StringIO()
    rows = [asdict(cost) for cost in costs]
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _threads(count: int) -> str:
    return f"{count} thread" if count == 1 else f"{count} threads"


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text!r} is no time between 0 and 3600 seconds")
    return seconds
