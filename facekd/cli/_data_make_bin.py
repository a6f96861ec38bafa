"""`facekd-data make-bin`: a verification `.bin` from images and a list of pairs."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.data_tools.pairs import PairSet

EXAMPLE = """examples:
  facekd-data make-bin lfw112/ pairs.txt lfw.bin
  facekd-data make-bin CFP/ CFP/Protocol cfp_fp.bin --cfp FP
  facekd-data make-bin faces.rec pairs.csv faces.bin
                                           a and b of the CSV are record numbers, or the names in
                                           faces.lst
"""


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "make-bin",
        "write a verification .bin from images and a list of pairs",
        EXAMPLE,
        more="JPEGs of 112x112 pixels go in as they are; other images are resized and encoded "
        "anew (quality 95). The pairs stand fold after fold, as the list has them.",
    )
    option = parser.add_argument
    option(
        "source",
        metavar="SRC",
        help="the folder that the list's paths start from, or a .rec or tar shards",
    )
    option(
        "pairs",
        metavar="PAIRS",
        help="LFW's pairs.txt with or without header, a CSV with the columns a,b,same[,fold], or "
        "CFP's folder Protocol",
    )
    option("out", metavar="OUT", help="the .bin file to write")
    option("--cfp", choices=("FF", "FP"), default="FP", help="which of CFP's lists (default: FP)")
    option(
        "--keep-duplicates",
        action="store_true",
        help="keep pairs that are listed twice (default: stop at them)",
    )
    option("--force", action="store_true", help=FORCE_HELP)
    parser.set_defaults(work=_make_bin)


def _make_bin(arguments: argparse.Namespace) -> int:
    from facekd.data_tools.make_bin import bin_order

    out = Path(arguments.out)
    if out.suffix != ".bin":
        raise FacekdError(f"{out}: the name of a verification set ends in .bin.")
    refuse_existing([out], arguments.force)
    pairs = _read_pairs(arguments)
    bin_order(pairs)  # before the work, not after it
    write(pairs, out)
    return 0


def write(pairs: "PairSet", out: Path) -> None:
    """Write pairs to a `.bin`, with a progress bar, and say what became of the images."""
    import numpy as np
    from tqdm import tqdm

    from facekd.data_tools.make_bin import QUALITY, SIZE, crop_images, save_bin

    rows = tqdm(range(len(pairs.images)), desc="images", unit=" images", file=sys.stderr)
    images = crop_images(pairs, rows)
    save_bin(out, pairs, images)
    genuine = int(np.count_nonzero(pairs.same))
    print(
        f"{out}: {len(pairs)} pairs, {genuine} genuine and {len(pairs) - genuine} impostor, of "
        f"{len(images.encoded)} images; read back and found equal"
    )
    changed = len(images.encoded) - images.untouched
    print(
        f"images: {images.untouched} untouched, {changed} resized to {SIZE}x{SIZE} and encoded "
        f"with quality {QUALITY}"
        + (f" ({images.stretched} were not square: align them first)" if images.stretched else "")
    )
    print(f"folds: {_describe_folds(pairs)}")


def _describe_folds(pairs: "PairSet") -> str:
    """The pairs of each fold as readers cut the file, in words."""
    import numpy as np

    from facekd.data_tools.make_bin import bin_order
    from facekd.data_tools.pairs import FOLDS, file_order_folds

    folds = file_order_folds(len(pairs))
    same = pairs.same[bin_order(pairs)]
    counts = {
        (int(np.count_nonzero(same[folds == k])), int(np.count_nonzero(~same[folds == k])))
        for k in range(FOLDS)
    }
    if len(counts) == 1:
        genuine, impostor = counts.pop()
        return f"{FOLDS} of {genuine} genuine and {impostor} impostor pairs each"
    told = "the list has none; " if pairs.folds is None else ""
    return f"{told}readers cut {FOLDS} in file order, which differ in their pairs here"


def _read_pairs(arguments: argparse.Namespace) -> "PairSet":
    from facekd.data_tools.pair_files import from_cfp, from_csv, from_lfw_pairs

    source, listed = Path(arguments.source), Path(arguments.pairs)
    if not source.exists() and not any(sign in source.name for sign in "*{"):
        raise FacekdError(f"{source} does not exist; give a folder, a .rec or tar shards.")
    if listed.is_dir():
        if listed.resolve() not in (source.resolve(), (source / "Protocol").resolve()):
            raise FacekdError(
                f"{listed} is a folder, and not the folder Protocol of {source}; give the list of "
                "pairs."
            )
        return from_cfp(source, arguments.cfp)
    read = from_csv if listed.suffix.lower() == ".csv" else from_lfw_pairs
    return read(listed, source, duplicates=arguments.keep_duplicates)
