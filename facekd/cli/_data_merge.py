"""`facekd-data merge`: several sets as one, with a joint label map."""

import argparse
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_choose import KINDS, SET_HELP
from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.data_tools.labelled import LabelledImages
    from facekd.data_tools.selected_sets import Chosen

EXAMPLE = """examples:
  facekd-data merge celeb.rec people/ joint.rec
                                           people are kept apart: celeb__ann and people__ann
  facekd-data merge train=a/train.rec more=b/train.rec joint.rec --join names
                                           an identity of equal name in both is one person
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "merge",
        "make one set of several, with a joint label map",
        EXAMPLE,
        more="Images are copied as they are; labels are numbered anew from 0, and OUT.labels.csv "
        "says how: source, old label, old name, name, label, images.",
    )
    option = parser.add_argument
    option("sources", metavar="[NAME=]SRC", nargs="+", help=f"two or more: {SET_HELP}")
    option("out", metavar="OUT", help="a .rec, a .tar or a folder")
    option(
        "--join",
        choices=("names",),
        help="identities of equal name are one person (default: identities of different sources "
        "are different people)",
    )
    option("--to", choices=KINDS, help="what to write (default: by OUT's name)")
    option("--force", action="store_true", help=FORCE_HELP)
    parser.set_defaults(work=_merge)


def _merge(arguments: argparse.Namespace) -> int:
    from facekd.cli._data_choose import describe, refuse_inside, show_progress
    from facekd.data_tools.selected_sets import map_path, merge, write_map
    from facekd.data_tools.writers import check_destination, kind_of, write_set

    if len(arguments.sources) < 2:
        raise FacekdError("a merge needs two sources or more, and then OUT.")
    given = [_name_and_path(text) for text in arguments.sources]
    out = Path(arguments.out)
    refuse_inside(arguments.out, [path for _, path in given])
    refuse_existing([map_path(out)], arguments.force)
    check_destination(out, arguments.to or kind_of(out), arguments.force)
    chosen = merge(_open_all(given), same_names=arguments.join == "names")
    write_set(show_progress(chosen, "merge"), out, arguments.to, force=arguments.force)
    write_map(map_path(out), chosen.table())
    print(describe(out))
    print(_equal_names(chosen, joined=arguments.join == "names"))
    print(f"labels: {map_path(out)}")
    return 0


def _name_and_path(text: str) -> tuple[str, str]:
    """`NAME=PATH`; "" where there is no name. What holds a slash before the sign is no name."""
    name, mark, path = text.partition("=")
    if not mark or "/" in name or Path(text).exists():
        return "", text
    if not name or not path:
        raise FacekdError(f"{text!r} is neither PATH nor NAME=PATH.")
    return name, path


def _open_all(given: list[tuple[str, str]]) -> "dict[str, LabelledImages]":
    from facekd.data_tools.labelled import open_labelled

    opened: dict[str, LabelledImages] = {}
    places: set[Path] = set()
    for name, path in given:
        place = Path(path).resolve()
        if place in places:
            raise FacekdError(f"{path} is given twice.")
        places.add(place)
        source = open_labelled(path)
        called = name or source.name
        if called in opened:
            raise FacekdError(f"two sources are called {called!r}; give one as NAME={path}.")
        opened[called] = source
    return opened


def _equal_names(chosen: "Chosen", joined: bool) -> str:
    """What became of names that stand in several sources, in words."""
    sources = Counter(one.old_name for one in chosen.identities)
    shared = sum(times > 1 for times in sources.values())
    if joined:
        return f"{shared} names stand in more than one source: each is one identity now"
    if not shared:
        return "no name stands in two sources"
    first = next(one for one in chosen.identities if sources[one.old_name] > 1)
    return (
        f"{shared} names stand in more than one source and were kept apart, as {first.name}; where "
        "equal names are equal people, use --join names"
    )
