"""`facekd-data verify`: is every record sound?"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_common import (
    FORCE_HELP,
    PATH_HELP,
    Commands,
    add_command,
    refuse_existing,
)
from facekd.cli._values import positive
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from facekd.data_tools.findings import BadRecord, Checks

EXAMPLE = """examples:
  facekd-data verify train.rec --csv bad.csv
                                           read and decode everything, list what is bad
  facekd-data verify train.rec --repair clean/train.rec --csv bad.csv
                                           the same, and a copy of all that is sound
"""
_MORE = """

Bad records are listed as CSV lines: record, offset (the byte where it starts), reason. An image
that decodes although its decoder complains of its data is bad; a few changed bytes of which the
decoder notices nothing are not found. In a .rec the index is checked
against the file, too, and the labels against a .lst beside it.

Broken off, it goes on from where it was when the same command is given again: what was found
is kept meanwhile in a hidden file beside the CSV, else beside the copy, else beside PATH.

Exit code 0: all sound; 2: something is bad, also where a clean copy was written. What the copy
leaves out is listed in OUT.left_out.csv; where only the index was wrong, nothing is left out."""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    what = "read and decode every record, list the bad ones as CSV"
    parser = add_command(commands, "verify", what, EXAMPLE, more=_MORE)
    parser.add_argument("path", metavar="PATH", help=PATH_HELP)
    parser.add_argument(
        "--csv",
        metavar="FILE",
        help="write the list of bad records here (default: to the terminal)",
    )
    parser.add_argument(
        "--repair", metavar="OUT", help="write a copy of what is sound, of the same kind as PATH"
    )
    parser.add_argument("--force", action="store_true", help=FORCE_HELP)
    parser.add_argument(
        "--workers", type=positive, metavar="N", help="processes (default: one a core)"
    )
    parser.set_defaults(work=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    import os

    from tqdm import tqdm

    from facekd.data_tools.verify import forget, open_checks, verify
    from facekd.files import write_text

    left_out = f"{arguments.repair}.left_out.csv" if arguments.repair else None
    refuse_existing([arguments.csv, left_out], arguments.force)
    checks = open_checks(arguments.path)
    if arguments.repair:
        from facekd.data_tools.repair import check_repair, repair

        check_repair(checks, arguments.repair, force=arguments.force)
    for note in checks.notes:
        print(f"note: {note}", file=sys.stderr)
    state = _state_file(arguments, checks)
    workers = arguments.workers or os.cpu_count() or 1
    with tqdm(
        total=len(checks), desc="verify", unit=" records", file=sys.stderr, mininterval=0.5
    ) as progress:
        findings = verify(checks, state, workers, progress.update)
    bad = findings.values()
    if left_out is not None:
        written = repair(checks, findings, arguments.repair, force=arguments.force)
        lost = [finding for finding in bad if finding.lost]
        write_text(left_out, _table(lost))
        print(
            f"{arguments.repair}: {written} images written; {len(lost)} bad ones left out, listed "
            f"in {left_out}.",
            file=sys.stderr,
        )
    if arguments.csv:
        write_text(arguments.csv, _table(bad))
    elif bad:
        print(_table(bad), end="")
    print(f"{len(checks)} records checked, {len(bad)} bad.", file=sys.stderr)
    if state is not None:
        forget(state)
    return 2 if bad else 0


def _state_file(arguments: argparse.Namespace, checks: "Checks") -> Path | None:
    """Where to keep what was found until all is done; None where nothing can be written."""
    import os

    path = Path(arguments.csv or arguments.repair or arguments.path).absolute()
    folder = path.parent
    if arguments.csv or arguments.repair:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FacekdError(f"cannot write to {folder}: {error.strerror or error}.") from error
    elif not os.access(folder, os.W_OK):
        print(
            f"note: nothing can be written beside {arguments.path}: give --csv FILE if this may "
            "be broken off and is to go on later.",
            file=sys.stderr,
        )
        return None
    return folder / f".{path.name}.verify"


def _table(findings: "Iterable[BadRecord]") -> str:
    import csv
    import io

    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["record", "offset", "reason"])
    writer.writerows([finding.record, finding.offset, finding.reason] for finding in findings)
    return table.getvalue()
