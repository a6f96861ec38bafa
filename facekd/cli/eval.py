"""`facekd-eval`: face-verification numbers, figures and reports of any models on any benches."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from facekd.cli._main import run
from facekd.cli._network import add_network_options
from facekd.cli._values import count, share
from facekd.errors import FacekdError

EXAMPLES = """examples:
  facekd-eval --bench synthetic --model runs/quickstart/student.pt
  facekd-eval --bench lfw,cfp_fp --model student.pt --model teacher=w600k_r50.onnx --data faces/
  facekd-eval --bench ijbc,ijbc_1n --model student.pt --data faces/ --save-embeddings cache/
  facekd-eval --bench ijbc --embeddings r50=r50.npy --halves --data faces/ --bootstrap 200
  facekd-eval --bench pairs.csv --model student.pt --threshold-from runs/eval/lfw/results.json
  facekd-eval --bench people/ --model student.pt --fars 1e-4,1e-6          (all pairs of a folder)
  facekd-eval --scores mine=scores.csv                                     (columns score,same)
  facekd-eval --compare runs/eval/lfw runs/other --out report
  facekd-eval --classes cifar100:data/ --model student.pt --model teacher.pt
  facekd-eval --list --data faces/
"""


COMPARE_TAKES = ("compare", "out", "baseline", "no_figures")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    arguments = _parser().parse_args(argv)
    return run(lambda: _dispatch(arguments))


def _dispatch(arguments: argparse.Namespace) -> int:
    if arguments.list:
        return _list(arguments)
    if arguments.classes:
        from facekd.cli._classes import TAKES, evaluate_classes

        _refuse_others(arguments, TAKES, "--classes is about images of classes, not of faces")
        return evaluate_classes(arguments)
    if arguments.teacher_head:
        raise FacekdError("--teacher-head is a share in class probabilities; give --classes DATA.")
    from facekd.cli._evaluation import compare_folders, evaluate

    if not arguments.compare:
        return evaluate(arguments)
    _refuse_others(
        arguments, COMPARE_TAKES, "--compare reads saved reports and measures nothing again"
    )
    return compare_folders(arguments)


def _refuse_others(arguments: argparse.Namespace, taken: Sequence[str], why: str) -> None:
    for name, value in vars(arguments).items():
        if name not in taken and value != _parser().get_default(name):
            raise FacekdError(f"{why}; leave out --{name.replace('_', '-')}.")


class _Parser(argparse.ArgumentParser):
    """One sentence for a mistake, as for every other; not the list of all options."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="facekd-eval",
        description="Measure face recognition: accuracy over folds, TAR at FAR with intervals,\n"
        "EER, AUC, minDCF, IJB-B / IJB-C 1:1 and 1:N; models are compared on the same pairs.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _what(parser.add_argument_group("what to measure"))
    _how(parser.add_argument_group("protocol"))
    _sureness(parser.add_argument_group("more numbers"))
    add_network_options(parser.add_argument_group("images"))
    _output(parser.add_argument_group("output"))
    return parser


def _what(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--bench",
        metavar="NAME,PATH",
        help="names, with commas (--list shows them), or paths: a .bin, a pairs CSV, a folder with "
        "pairs.txt, CFP's or IJB's folder, identity folders or a .rec (all pairs)",
    )
    for option, file in (
        ("--model", ".pt, .onnx or .params"),
        ("--embeddings", ".npy, (n, d) in the order of the bench's faces"),
        ("--scores", ".npy of the bench's pairs, or a CSV with columns score,same"),
    ):
        add(
            option,
            action="append",
            default=[],
            metavar="[NAME=]FILE",
            help=f"{file}; may be given several times",
        )
    add(
        "--classes",
        metavar="DATA",
        help="instead of a bench: images of classes, for networks of `task: classification`: a "
        "folder of val/CLASS/, or cifar100:FOLDER and such; top-1, top-5, confusion",
    )
    add("--halves", action="store_true", help="embeddings' rows are original | flipped (n, 2d)")
    add("--data", metavar="DIR", help="folder of the benches' files (default: $FACEKD_DATA)")
    add("--list", action="store_true", help="show the benches, where their files go, what is there")
    add(
        "--compare",
        nargs="+",
        metavar="DIR",
        help="build one report from the saved scores of several, measuring nothing again",
    )


def _how(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--protocol",
        choices=("exact", "insightface"),
        default="exact",
        help="exact (default): FAR never above its target, every score tried as accuracy "
        "threshold; insightface: its nearest point, its 400 thresholds, its 1:N with joined "
        "galleries",
    )
    add(
        "--fars",
        type=_rates,
        metavar="F,F",
        help="false accept rates, such as 1e-3,1e-4 (default: by kind)",
    )
    add("--no-flip", action="store_true", help="do not add the mirrored image's embedding (F0)")
    add(
        "--teacher-head",
        type=share,
        default=0.0,
        metavar="A",
        help="with --classes: the share of the teacher's head in the probabilities (default: 0)",
    )
    add("--no-norm", action="store_true", help="templates of unit-length embeddings (N0)")
    add("--no-detector", action="store_true", help="templates without detector scores (D0)")
    add(
        "--keep-duplicates",
        action="store_true",
        help="count a pair as often as it is listed (default: stop)",
    )
    add(
        "--missing",
        choices=("error", "count"),
        default="error",
        help="an image that is not there: stop (default), or count it as a face not found",
    )


def _sureness(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add(
        "--bootstrap",
        type=count,
        default=0,
        metavar="N",
        help="intervals from N resamplings of the people, such as 1000 (default: none)",
    )
    add("--seed", type=count, default=0, metavar="N", help="of the bootstrap (default: 0)")
    add(
        "--threshold-from",
        metavar="FILE[:BENCH]",
        help="rates at the thresholds of another report's results.json",
    )
    add(
        "--groups",
        metavar="FILE[:COLUMN]",
        help="a CSV with a label for each image (or pair): rates within each group",
    )
    add("--baseline", metavar="NAME", help="model the others are compared with (default: first)")


def _output(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--out", metavar="DIR", help="where the report goes (default: runs/eval/BENCH)")
    add("--no-figures", action="store_true", help="numbers and tables only")


def _list(arguments: argparse.Namespace) -> int:
    from facekd.eval.benchmarks import DATA_VARIABLE, data_folder, describe_benches

    data = data_folder(arguments.data)
    where = f"{data}/ and its subfolders" if data else f"no data folder (--data, ${DATA_VARIABLE})"
    print(f"benches ({where}):")
    for line in describe_benches(data):
        print(f"  {line}")
    return 0


def _rates(text: str) -> tuple[float, ...]:
    try:
        rates = tuple(float(part) for part in text.split(",") if part)
    except ValueError:
        rates = ()
    if not rates or not all(0 < rate <= 1 for rate in rates) or len(set(rates)) < len(rates):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no list of different rates in (0, 1], as 1e-3,1e-4"
        )
    return tuple(sorted(rates, reverse=True))


if __name__ == "__main__":
    sys.exit(main())
