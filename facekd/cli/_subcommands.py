"""A command of several subcommands, each in a file of its own."""

import argparse
from collections.abc import Sequence
from importlib import import_module

from facekd.cli._main import run


def run_subcommand(
    argv: Sequence[str] | None, prog: str, names: Sequence[str], what: str, examples: str
) -> int:
    """Parse the arguments and run one subcommand; returns the exit code.

    Args:
        argv: The arguments; None: the process's.
        prog: The command, `facekd-ROOM`.
        names: Its subcommands, each in `facekd/cli/_ROOM_NAME.py`, which imports nothing heavy
            before it works.
        what: What the command does, in one sentence.
        examples: Shown at the end of its help.
    """
    parser = argparse.ArgumentParser(
        prog=prog,
        description=what,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    room = prog.removeprefix("facekd-")
    for name in names:
        import_module(f"facekd.cli._{room}_{name.replace('-', '_')}").add(commands)
    arguments = parser.parse_args(argv)
    return run(lambda: arguments.work(arguments))
