"""What the subcommands of `facekd-data` share on the command line."""

import argparse
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.errors import FacekdError

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]
else:
    Commands = object

FORCE_HELP = "replace what is there already (default: stop)"
PATH_HELP = "a .rec file (or the folder of one), a .bin file, a folder of NAME/*.jpg, or tar shards"


def add_command(
    commands: Commands, name: str, what: str, examples: str, more: str = ""
) -> argparse.ArgumentParser:
    """A subcommand's parser: one line of what it does, then more in paragraphs, then examples."""
    paragraphs = f"{what[0].upper()}{what[1:]}. {more}".split("\n\n")
    return commands.add_parser(
        name,
        help=what,
        description="\n\n".join(textwrap.fill(" ".join(p.split()), 88) for p in paragraphs),
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def refuse_existing(paths: Iterable[str | Path | None], force: bool) -> None:
    """Refuse to overwrite, before the work begins; None is a file that was not asked for.

    Raises:
        FacekdError: One of them exists, and `force` is not given; or its folder cannot be written.
    """
    from facekd.data_tools.staging import check_place

    for path in [Path(one) for one in paths if one is not None]:
        if path.exists() and not force:
            raise FacekdError(f"{path} is there already; give another name, or --force.")
        check_place(path)
