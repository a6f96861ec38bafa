"""`facekd-eval`: face-verification numbers and ROC curves of any models on any benches."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._main import run
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.embedder import Embedder
    from facekd.eval.benchmarks import Bench
    from facekd.eval.results import BenchResult

EXAMPLES = """examples:
  facekd-eval --bench synthetic --model runs/quickstart/student.pt
  facekd-eval --bench lfw,cfp_fp --model student.pt --model teacher=w600k_r50.onnx --data faces/
  facekd-eval --bench lfw.bin --model net.onnx --input-range=-1,1 --no-flip --protocol insightface
  facekd-eval --list --data faces/
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    arguments = _parser().parse_args(argv)
    return run(lambda: _list(arguments) if arguments.list else _evaluate(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facekd-eval",
        description="Measure face verification: ten-fold accuracy, TAR at FAR with intervals, AUC, "
        "EER, ROC curves; several models are compared on the same pairs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--bench", help="names or .bin files, with commas: synthetic, or NAME of DIR/[*/]NAME.bin")
    add(
        "--model",
        action="append",
        default=[],
        metavar="[NAME=]FILE",
        help=".pt, .onnx or .params; may be given several times",
    )
    add("--data", metavar="DIR", help="folder of .bin files (default: $FACEKD_DATA)")
    add("--out", metavar="DIR", help="where the report goes (default: runs/eval/BENCH)")
    add("--baseline", metavar="NAME", help="model the others are compared with (default: first)")
    add("--no-flip", action="store_true", help="do not add the mirrored image's embedding")
    add(
        "--protocol",
        choices=("exact", "insightface"),
        default="exact",
        help="search of the accuracy threshold: every score, or insightface's 400 steps",
    )
    add("--batch-size", type=_positive, default=64, help="images at a time (default: 64)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add(
        "--input-range",
        type=_range,
        metavar="LO,HI",
        help="what 0 and 255 become, for files that do not say; write --input-range=-1,1",
    )
    add("--channels", choices=("rgb", "bgr"), default="rgb", help="for files that do not say")
    add("--list", action="store_true", help="show the benches there are, and stop")
    return parser


def _list(arguments: argparse.Namespace) -> int:
    from facekd.eval.benchmarks import DATA_VARIABLE, data_folder, list_benches

    data = data_folder(arguments.data)
    where = f"{data}/ and its subfolders" if data else f"no data folder (--data, ${DATA_VARIABLE})"
    print(f"benches ({where}):")
    for bench in list_benches(data):
        print(f"  {bench.name:<16} {bench.source}")
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    if not arguments.bench or not arguments.model:
        raise FacekdError("nothing to evaluate; give --bench NAME and --model FILE, or --list.")
    from facekd.eval.benchmarks import data_folder, find_bench
    from facekd.eval.report import write_report
    from facekd.eval.results import Evaluation
    from facekd.eval.tables import as_text, tables

    data = data_folder(arguments.data)
    names = list(dict.fromkeys(name for name in arguments.bench.split(",") if name))
    benches = [find_bench(name, data) for name in names]
    if len({bench.name for bench in benches}) < len(benches):
        raise FacekdError(f"--bench {arguments.bench} names two benches alike; rename one file.")
    files = _model_files(arguments.model)
    baseline = arguments.baseline or next(iter(files))
    if baseline not in files:
        raise FacekdError(f"--baseline {baseline} is none of the models: {', '.join(files)}.")
    models = {name: _load(path, arguments) for name, path in files.items()}
    evaluation = Evaluation(
        benches=tuple(_run_bench(b, models, files, baseline, arguments) for b in benches),
        flip=not arguments.no_flip,
        protocol=arguments.protocol,
    )
    for table in tables(evaluation):
        print(as_text(table), end="\n\n")
    for bench in evaluation.benches:
        sizes = ", ".join(dict.fromkeys(model.image_size for model in bench.models))
        pairs = f"{bench.genuine} genuine and {bench.impostors} impostor pairs"
        print(f"{bench.name}: {pairs}, {bench.folds} folds, images {sizes}; {bench.source}")
    print(f"protocol: {evaluation.protocol_words()}")
    folder = Path(arguments.out or Path("runs/eval") / "+".join(b.name for b in benches))
    written = write_report(evaluation, folder)
    print(f"report: {folder}/ ({', '.join(str(path.relative_to(folder)) for path in written)})")
    return 0


def _run_bench(
    bench: "Bench",
    models: "dict[str, Embedder]",
    files: dict[str, Path],
    baseline: str,
    arguments: argparse.Namespace,
) -> "BenchResult":
    """All models on one bench, one after the other."""
    from facekd.eval.embed import image_sizes, score_pairs
    from facekd.eval.results import BenchResult, ModelResult
    from facekd.eval.verification import verify

    pairs = bench.load(max(model.preprocess.input_size for model in models.values()))
    results = []
    for name, model in models.items():
        scores = score_pairs(
            pairs,
            model,
            flip=not arguments.no_flip,
            batch_size=arguments.batch_size,
            progress=f"{bench.name}, {name}",
        )
        numbers = verify(scores, pairs.same, pairs.folds, protocol=arguments.protocol)
        results.append(ModelResult(name, str(files[name]), image_sizes(pairs, model), numbers))
    return BenchResult(
        name=bench.name,
        source=bench.source,
        images=len(pairs.images),
        folds=len(set(pairs.folds.tolist())),
        models=tuple(results),
        baseline=baseline,
    )


def _model_files(given: list[str]) -> dict[str, Path]:
    """Display name -> file; a file without a name is called by its stem."""
    files: dict[str, Path] = {}
    for text in given:
        name, mark, path = text.partition("=")
        if not mark or Path(text).exists():
            name, path = Path(text).stem, text
        if name in files:
            raise FacekdError(f"two models are both named {name!r}; give one --model NAME={path}.")
        files[name] = Path(path)
    return files


def _load(path: Path, arguments: argparse.Namespace) -> "Embedder":
    import torch

    from facekd.model import load_model

    device = arguments.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise FacekdError("--device cuda: PyTorch sees no GPU here; use --device cpu.")
    return load_model(
        path, input_range=arguments.input_range, channels=arguments.channels, device=device
    )


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _range(text: str) -> tuple[float, float]:
    low, _, high = text.partition(",")
    try:
        return float(low), float(high)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not LO,HI, such as -1,1") from None
