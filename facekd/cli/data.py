"""`facekd-data`: everything between a folder of photographs and a training run."""

import argparse
from collections.abc import Sequence
from importlib import import_module

from facekd.cli._main import run

_COMMANDS = (
    "align",
    "clean",
    "convert",
    "fetch",
    "inspect",
    "make-bin",
    "make-pairs",
    "merge",
    "overlap",
    "split",
    "subset",
    "verify",
)  # each in facekd/cli/_data_NAME.py, which imports nothing heavy before it works

_EXAMPLES = """examples:
  facekd-data inspect train.rec            images, identities, sizes, label-map hash
  facekd-data verify train.rec --csv bad.csv
                                           read and decode everything, list what is bad
  facekd-data COMMAND --help               more of each command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run one subcommand; returns the exit code."""
    arguments = _parser().parse_args(argv)
    return run(lambda: arguments.work(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facekd-data",
        description="Look into, check, convert, align and choose face data.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in _COMMANDS:
        import_module(f"facekd.cli._data_{name.replace('-', '_')}").add(commands)
    return parser
