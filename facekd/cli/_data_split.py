"""`facekd-data split`: identity-disjoint train, validation and test sets."""

import argparse

from facekd.cli._data_choose import KINDS, SET_HELP
from facekd.cli._data_common import FORCE_HELP, Commands, add_command
from facekd.cli._values import count, positive
from facekd.errors import FacekdError

PARTS = ("train", "val", "test")
EXAMPLE = """examples:
  facekd-data split faces.rec parts/ --train 0.8 --val 0.1 --test 0.1
                                           parts/train.rec, val.rec, test.rec, labels.csv
  facekd-data split people/ parts/ --val-identities 40
                                           40 people to validate on, all others to train on
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "split",
        "deal the identities to train, validation and test sets",
        EXAMPLE,
        more="No identity stands in two parts; images are copied as they are; labels are numbered "
        "anew in each part, and labels.csv says how.",
    )
    option = parser.add_argument
    option("source", metavar="SRC", help=SET_HELP)
    option("out", metavar="OUT", help="the folder of the parts")
    for part in PARTS:
        rest = "; the rest when not given" if part == "train" else ""
        option(f"--{part}", type=float, metavar="SHARE", help=f"of the identities, 0 to 1{rest}")
        option(
            f"--{part}-identities", type=positive, metavar="N", help="so many identities instead"
        )
    option("--seed", type=count, default=0, metavar="N", help="of the dealing (default: 0)")
    option("--to", choices=KINDS, help="what to write (default: what SRC is)")
    option("--force", action="store_true", help=FORCE_HELP)
    parser.set_defaults(work=_split)


def _split(arguments: argparse.Namespace) -> int:
    from pathlib import Path

    from facekd.cli._data_choose import describe, kind_of_source, refuse_inside, show_progress
    from facekd.data_tools.labelled import open_labelled
    from facekd.data_tools.select import split
    from facekd.data_tools.selected_sets import (
        SPLIT_MAP,
        check_split_folder,
        choose,
        part_path,
        write_split,
    )

    wanted = _parts(arguments)
    folder = Path(arguments.out)
    refuse_inside(arguments.out, [arguments.source])
    check_split_folder(folder, arguments.force)
    source = open_labelled(arguments.source)
    kind = arguments.to or kind_of_source(source)
    rows = split(source.labels, wanted, arguments.seed)
    parts = {name: choose(source, chosen, name) for name, chosen in rows.items()}
    write_split(parts, folder, kind, show_progress, arguments.force)
    for name in parts:
        print(describe(part_path(folder, name, kind)))
    print(f"no identity stands in two parts (seed {arguments.seed}); labels: {folder / SPLIT_MAP}")
    return 0


def _parts(arguments: argparse.Namespace) -> dict[str, float | int | None]:
    """What each part gets; training what remains when nothing is said."""
    parts: dict[str, float | int | None] = {}
    for part in PARTS:
        fraction, number = getattr(arguments, part), getattr(arguments, f"{part}_identities")
        if fraction is not None and number is not None:
            raise FacekdError(f"give --{part} or --{part}-identities, not both.")
        if fraction is not None or number is not None or part == "train":
            parts[part] = number if fraction is None else fraction
    if len(parts) < 2:
        raise FacekdError(
            "a split needs two parts; give --val or --test, or --val-identities or "
            "--test-identities."
        )
    return parts
