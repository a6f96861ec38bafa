"""`facekd-data`: what is in a data file, and is it sound?"""

import argparse
import json
import sys
from collections.abc import Sequence
from typing import Any

from facekd.cli._main import run

_EXAMPLES = """examples:
  facekd-data inspect train.rec            images, identities, sizes, label-map hash
  facekd-data inspect lfw.bin --json       the same for a verification set, for other programs
  facekd-data verify train.rec --csv bad.csv
                                           read and decode everything, list what is bad
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the arguments and run one subcommand; returns the exit code."""
    arguments = _parser().parse_args(argv)
    return run(lambda: arguments.work(arguments))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="facekd-data",
        description="Look into .rec files, .bin verification sets and image folders.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    what = "a .rec file (or the folder of a single one), a .bin file, or a folder of NAME/*.jpg"

    inspect = commands.add_parser("inspect", help="what it is: counts, identities, image sizes")
    inspect.add_argument("path", metavar="PATH", help=what)
    inspect.add_argument("--json", action="store_true", help="print JSON")
    inspect.set_defaults(work=_inspect)

    verify = commands.add_parser(
        "verify",
        help="read and decode every record, list the bad ones as CSV",
        description="Read and decode every record. Bad ones are listed as CSV lines: record, "
        "offset (the byte where it starts), reason. Exit code 2 if there is any.",
    )
    verify.add_argument("path", metavar="PATH", help=what)
    verify.add_argument("--csv", metavar="FILE", help="write the list here, not to the terminal")
    verify.set_defaults(work=_verify)
    return parser


def _inspect(arguments: argparse.Namespace) -> None:
    from facekd.data_tools.inspect import inspect

    found = inspect(arguments.path)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    width = max(map(len, found))
    for name, value in found.items():
        print(f"{name.replace('_', ' '):{width}}  {_plain(value)}")


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(entry)}" for name, entry in value.items())
    if isinstance(value, list):
        return " to ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _verify(arguments: argparse.Namespace) -> int:
    import csv
    import io

    from tqdm import tqdm

    from facekd.data_tools.verify import Verification
    from facekd.files import write_text

    checks = Verification(arguments.path)
    progress = tqdm(checks, desc="verify", unit=" records", file=sys.stderr, mininterval=0.5)
    bad = [finding for finding in progress if finding is not None]
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["record", "offset", "reason"])
    writer.writerows([finding.record, finding.offset, finding.reason] for finding in bad)
    if arguments.csv:
        write_text(arguments.csv, table.getvalue())
    elif bad:
        print(table.getvalue(), end="")
    print(f"{len(checks)} records checked, {len(bad)} bad.", file=sys.stderr)
    return 2 if bad else 0
