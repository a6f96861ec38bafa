"""`facekd-data`: everything between a folder of photographs and a training run."""

from collections.abc import Sequence

from facekd.cli._subcommands import run_subcommand

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
)

_EXAMPLES = """examples:
  facekd-data inspect train.rec            images, identities, sizes, label-map hash
  facekd-data verify train.rec --csv bad.csv
                                           read and decode everything, list what is bad
  facekd-data COMMAND --help               more of each command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run one subcommand; returns the exit code."""
    what = "Look into, check, convert, align and choose face data."
    return run_subcommand(argv, "facekd-data", _COMMANDS, what, _EXAMPLES)
