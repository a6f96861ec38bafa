"""`facekd-data make-pairs`: genuine and impostor pairs drawn from any labelled set."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_choose import SET_HELP, refuse_inside
from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._values import count, positive
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.data_tools.labelled import LabelledImages
    from facekd.data_tools.pairs import PairSet

DEFAULT_PAIRS = 6000
EXAMPLE = """examples:
  facekd-data make-pairs people/ pairs.csv --pairs 6000
  facekd-eval --bench pairs.csv:people --model student.pt
  facekd-data make-pairs held_out.rec held_out.bin --seed 1
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "make-pairs",
        "draw genuine and impostor pairs from a labelled set",
        EXAMPLE,
        more="As many genuine as impostor pairs in every fold, none twice, and no identity in two "
        "folds.",
    )
    option = parser.add_argument
    option("source", metavar="SRC", help=SET_HELP)
    option("out", metavar="OUT", help="a .csv: a,b,same,fold,subject_a,subject_b; or a .bin")
    option(
        "--pairs",
        type=positive,
        metavar="N",
        help=f"how many in all (default: {DEFAULT_PAIRS}, or all that can be had)",
    )
    option(
        "--folds",
        type=positive,
        default=10,
        metavar="K",
        help="parts that share no identity (default: 10)",
    )
    option("--seed", type=count, default=0, metavar="N", help="of the drawing (default: 0)")
    option("--force", action="store_true", help=FORCE_HELP)
    parser.set_defaults(work=_make_pairs)


def _make_pairs(arguments: argparse.Namespace) -> int:
    from facekd.cli._data_make_bin import write
    from facekd.data_tools.labelled import open_labelled
    from facekd.data_tools.make_bin import bin_order, save_list
    from facekd.data_tools.selected_sets import identity_texts

    out = Path(arguments.out)
    if out.suffix not in (".csv", ".bin"):
        raise FacekdError(f"{out}: pairs are written as .csv or .bin.")
    refuse_existing([out], arguments.force)
    refuse_inside(arguments.out, [arguments.source])
    source = open_labelled(arguments.source)
    pairs = _draw(source, arguments)
    if out.suffix == ".bin":
        bin_order(pairs)
        write(_used_only(pairs), out)
        return 0
    save_list(out, pairs, list(identity_texts(source).values()))
    each = len(pairs) // (2 * arguments.folds)
    print(
        f"{out}: {len(pairs)} pairs in {arguments.folds} folds of {each} genuine and {each} "
        f"impostor pairs; no identity stands in two folds (seed {arguments.seed})"
    )
    print(f"to evaluate on them: facekd-eval --bench {out}:{arguments.source} --model FILE")
    return 0


def _draw(source: "LabelledImages", arguments: argparse.Namespace) -> "PairSet":
    """The pairs asked for; without a number, as many as there are up to the usual 6,000."""
    from dataclasses import replace

    from facekd.data_tools.drawn_pairs import from_labels, most_pairs

    folds, pairs = arguments.folds, arguments.pairs
    if pairs is None:
        most = most_pairs(source.labels, folds, arguments.seed)
        pairs = max(min(most, DEFAULT_PAIRS // (2 * folds) * 2 * folds), 2 * folds)
    drawn = from_labels(source.images, source.labels, pairs, folds, arguments.seed, source.name)
    return replace(drawn, ids=source.ids)


def _used_only(pairs: "PairSet") -> "PairSet":
    """The same pairs, over the images alone that stand in them."""
    from dataclasses import replace
    from typing import cast

    import numpy as np

    from facekd.data_tools.image_roots import ChosenImages
    from facekd.data_tools.labelled import Stored

    used, rows = np.unique(np.concatenate([pairs.left, pairs.right]), return_inverse=True)
    images = ChosenImages(cast(Stored, pairs.images), used.tolist())
    left, right = rows[: len(pairs)], rows[len(pairs) :]
    return replace(pairs, images=images, left=left, right=right, ids=None, subjects=None)
