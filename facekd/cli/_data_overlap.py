"""`facekd-data overlap`: who and what stands in both of two sets?"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._network import (
    add_network_options,
    embed_set,
    load_network,
    refuse_without_network,
    threads,
)
from facekd.cli._values import cosine, count
from facekd.data_tools.thresholds import SAME_BITS, SAME_PERSON
from facekd.errors import FacekdError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facekd.data_tools.image_set import ImageSet
    from facekd.data_tools.overlap import Overlap

EXAMPLE = """examples:
  facekd-data overlap train.rec lfw.bin --drop exclude.csv
                                           images of lfw.bin that one would train on; a recipe
                                           leaves them out with data: {exclude: exclude.csv}
  facekd-data overlap train.rec lfw.bin --model teacher.onnx --csv found.csv --sheet found.png
                                           also other photographs of the people in lfw.bin
  facekd-data overlap people/ pairs.txt:lfw/ --drop exclude.csv --drop-identities
                                           whole people, by name too
"""
_SETS = (
    "a folder of NAME/*.jpg, a .rec, tar shards, a .bin, CFP's folder, or a list of pairs "
    "(.csv, LFW's .txt), as LIST:FOLDER where its images lie elsewhere"
)


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "overlap",
        "people and images that stand in both of two sets",
        EXAMPLE,
        more="People by name; images by their bytes, by perceptual hash (saved anew, resized, "
        "mirrored) and, with a model, by embedding, which alone finds copies that were cropped or "
        "aligned otherwise. Each image that matches is told with its nearest in the other set.",
    )
    option = parser.add_argument
    option("a", metavar="A", help=f"the set that could do without, to train on: {_SETS}")
    option("b", metavar="B", help="the other one, to test on; as A")
    option(
        "--bits",
        type=count,
        default=SAME_BITS,
        help="of 256, the most by which the perceptual hashes of copies differ "
        f"(default: {SAME_BITS}, which no pair of crops of different people among 42 million did)",
    )
    option(
        "--model",
        type=Path,
        metavar="FILE",
        help="a network: look by embedding too; .pt, .onnx, .params",
    )
    option(
        "--threshold",
        type=cosine,
        default=SAME_PERSON,
        metavar="COSINE",
        help=f"from which two embeddings show one person (default: {SAME_PERSON})",
    )
    option("--csv", metavar="FILE", help="write the matches here")
    option(
        "--drop", metavar="FILE", help="write the images of A to leave out here (image,identity)"
    )
    option(
        "--drop-identities",
        action="store_true",
        help="leave out all images of the people found, by name too",
    )
    option("--sheet", metavar="FILE", help="picture of the least sure matches, .png or .jpg")
    option("--force", action="store_true", help=FORCE_HELP)
    add_network_options(parser.add_argument_group("images"))
    parser.set_defaults(work=_overlap)


def _overlap(arguments: argparse.Namespace) -> None:
    from facekd.data_tools.image_set import open_images
    from facekd.data_tools.overlap import find_overlap
    from facekd.data_tools.review_sheets import overlap_sheet
    from facekd.data_tools.review_tables import exclude_csv
    from facekd.data_tools.sheet import check_sheet_path, write_sheet
    from facekd.files import write_text

    asked = arguments
    if asked.drop_identities and not asked.drop:
        raise FacekdError("--drop-identities says what --drop FILE lists; give both.")
    refuse_without_network(asked)
    refuse_existing((asked.csv, asked.drop, asked.sheet), asked.force)
    if asked.sheet:
        check_sheet_path(asked.sheet)
    a, b = open_images(asked.a), open_images(asked.b)
    if asked.drop_identities:
        a.known_people()
    overlap = find_overlap(
        a,
        b,
        bits=asked.bits,
        embeddings=_embed(a, b, asked) if asked.model else None,
        cosine=asked.threshold,
        workers=threads(asked.workers),
        progress=True,
    )
    _tell(overlap, asked)
    if asked.csv:
        write_text(asked.csv, overlap.matches_csv())
    if asked.drop:
        dropped = overlap.drop(asked.drop_identities)
        write_text(asked.drop, exclude_csv(a, dropped.tolist()))
        print(f"{len(dropped):,} of {len(a):,} images of {a.path} are listed in {asked.drop}")
    if asked.sheet:
        sheet = overlap_sheet(overlap)
        if sheet is None:
            print("no images match, so there is no sheet")
        else:
            write_sheet(asked.sheet, sheet)


def _embed(
    a: "ImageSet", b: "ImageSet", asked: argparse.Namespace
) -> "tuple[NDArray[np.float32], NDArray[np.float32]]":
    model = load_network(asked.model, asked)
    one, other = (
        embed_set(side.images, Path(side.path).stem, side.fingerprint, model, asked)
        for side in (a, b)
    )
    return one, other


def _tell(overlap: "Overlap", asked: argparse.Namespace) -> None:
    """A table of counts, and how it came to be."""
    a, b = overlap.a, overlap.b
    for letter, side in (("A", a), ("B", b)):
        people = f" of {len(side.names):,} identities" if side.people is not None else ""
        print(f"{letter}: {side.path}, {len(side):,} images{people}")
    head = ("found by", "images of A", "identities of A", "images of B", "identities of B")
    table = [head, *overlap.table()]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *numbers in table:
        cells = [f"{cell:>{width}}" for cell, width in zip(numbers, widths[1:], strict=True)]
        print("  ".join([f"{first:{widths[0]}}", *cells]))
    how = [f"picture, mirrored: perceptual hashes differ by at most {asked.bits} of 256 bits"]
    if asked.model:
        how.append(f"embedding: cosine of at least {asked.threshold:g} by {asked.model}")
    if overlap.people is None:
        nameless = " and ".join(side.path for side in (a, b) if not side.named)
        how.append(f"name: not compared, for there are no names in {nameless}")
    elif len(overlap.people) and asked.drop and not asked.drop_identities:
        how.append("name: not in the list unless --drop-identities is given")
    print("\n".join(how))
