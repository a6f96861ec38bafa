"""`facekd-data subset`: some of the identities or images of a set."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_choose import KINDS, SET_HELP
from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._values import count, positive
from facekd.errors import FacekdError
from facekd.input_file import MAX_TABLE, check_input

if TYPE_CHECKING:
    from facekd.data_tools.labelled import LabelledImages

EXAMPLE = """examples:
  facekd-data subset faces.rec small.rec --identities 1000 --min-images 5
  facekd-data subset people/ few/ --per-identity 10 --seed 1
  facekd-data subset faces.rec chosen.rec --list names.txt
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "subset",
        "keep some of the identities or images",
        EXAMPLE,
        more="Obeyed in the order of the options below; images are copied as they are; labels are "
        "numbered anew, and OUT.labels.csv says how.",
    )
    option = parser.add_argument
    option("source", metavar="SRC", help=SET_HELP)
    option("out", metavar="OUT", help="a .rec, a .tar or a folder")
    option(
        "--list",
        metavar="FILE",
        help="keep these identities: a text of names, one a line, or a CSV with a column identity",
    )
    option("--min-images", type=positive, metavar="N", help="keep identities with N images or more")
    option(
        "--max-images", type=positive, metavar="N", help="keep identities with N images or fewer"
    )
    option(
        "--per-identity", type=positive, metavar="N", help="keep N images of each at most, drawn"
    )
    option("--identities", type=positive, metavar="N", help="keep N identities, drawn")
    option(
        "--images",
        type=positive,
        metavar="N",
        help="keep whole identities, drawn, of N images in all at most",
    )
    option("--seed", type=count, default=0, metavar="N", help="of the drawing (default: 0)")
    option("--to", choices=KINDS, help="what to write (default: by OUT's name)")
    option("--force", action="store_true", help=FORCE_HELP)
    parser.set_defaults(work=_subset)


def _subset(arguments: argparse.Namespace) -> int:
    from facekd.cli._data_choose import describe, refuse_inside, show_progress
    from facekd.data_tools.labelled import open_labelled
    from facekd.data_tools.select import Wanted, subset
    from facekd.data_tools.selected_sets import choose, map_path, write_map
    from facekd.data_tools.writers import check_destination, kind_of, write_set

    limits = {
        name: getattr(arguments, name)
        for name in ("min_images", "max_images", "per_identity", "identities", "images")
        if getattr(arguments, name) is not None
    }
    if not limits and not arguments.list:
        raise FacekdError(
            "a subset of what? Give --identities, --images, --per-identity, --min-images, "
            "--max-images or --list."
        )
    out = Path(arguments.out)
    refuse_inside(arguments.out, [arguments.source])
    refuse_existing([map_path(out)], arguments.force)
    check_destination(out, arguments.to or kind_of(out), arguments.force)
    source = open_labelled(arguments.source)
    labels = _listed(source, Path(arguments.list)) if arguments.list else None
    rows = subset(source.labels, Wanted(labels=labels, **limits), arguments.seed)
    chosen = choose(source, rows)
    write_set(show_progress(chosen, "subset"), out, arguments.to, force=arguments.force)
    write_map(map_path(out), chosen.table())
    print(f"{describe(out)} (of {len(source.images)} images; seed {arguments.seed})")
    print(f"labels: {map_path(out)}")
    return 0


def _listed(source: "LabelledImages", path: Path) -> list[int]:
    """The labels of the identities that a text file or a CSV's column `identity` names."""
    from facekd.data_tools.csv_table import read_csv
    from facekd.data_tools.select import find_labels
    from facekd.data_tools.selected_sets import identity_texts

    if path.suffix.lower() == ".csv":
        table = read_csv(path)
        wanted = [(name, table.where(row)) for row, name in enumerate(table.column("identity"))]
    else:
        try:
            check_input(path, MAX_TABLE)
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FacekdError(f"cannot read the list {path}: {reason}.") from error
        wanted = [(line.strip(), f"{path}, line {row}") for row, line in enumerate(lines, 1)]
    named = [(name, where) for name, where in wanted if name]
    if not named:
        raise FacekdError(f"{path} names no identity.")
    texts = identity_texts(source)
    found = find_labels(list(texts.values()), [n for n, _ in named], [w for _, w in named])
    labels = list(texts)
    return [labels[place] for place in found]
