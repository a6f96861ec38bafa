"""`facekd-data clean`: which labels do the embeddings speak against?"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.cli._data_common import FORCE_HELP, Commands, add_command, refuse_existing
from facekd.cli._network import (
    add_network_options,
    embed_set,
    load_network,
    refuse_without_network,
)
from facekd.cli._values import cosine
from facekd.data_tools.thresholds import STRANGERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from facekd.data_tools.clean import Duplicates, Identities, Outliers
    from facekd.data_tools.image_set import ImageSet

EXAMPLE = """examples:
  facekd-data clean train.rec --model teacher.onnx --out review --sheet review/sheets
                                           review/outliers.csv, duplicates.csv, exclude.csv and
                                           pictures to look through; a recipe leaves out what
                                           data: {exclude: review/exclude.csv} lists
"""
_FILES = ("outliers.csv", "duplicates.csv", "exclude.csv")


def add(commands: Commands) -> None:
    """Add the subcommand."""
    parser = add_command(
        commands,
        "clean",
        "images unlike their identity, and identities that look like one, as lists to review",
        EXAMPLE,
        more="An image is compared with the centre of its identity's other images, two identities "
        "by their centres. Nothing is deleted: the lists are to be looked through.",
    )
    option = parser.add_argument
    option("source", metavar="SRC", help="a folder of NAME/*.jpg, a .rec, or tar shards")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--model", type=Path, metavar="FILE", help="a network: .pt, .onnx, .params")
    given.add_argument(
        "--embeddings",
        metavar="FILE.npy",
        help="saved embeddings, float (n, d) in the order of the images",
    )
    option("--out", required=True, metavar="DIR", help=f"where {', '.join(_FILES)} go")
    option(
        "--threshold",
        type=cosine,
        metavar="COSINE",
        help="below which an image is unlike its identity (default: below it are "
        f"{STRANGERS:.0%} of images compared with identities drawn at random)".replace("%", "%%"),
    )
    option(
        "--same",
        type=cosine,
        metavar="COSINE",
        help="from which two identities are one (default: half-way between the median identity's "
        "to the nearest other one and that between its own random halves)",
    )
    option(
        "--drop-duplicates",
        action="store_true",
        help="list in exclude.csv also the identity with fewer images of two that are one",
    )
    option("--sheet", metavar="DIR", help="write pictures of what was found into this folder")
    option("--force", action="store_true", help=FORCE_HELP)
    add_network_options(parser.add_argument_group("images"))
    parser.set_defaults(work=_clean)


def _clean(arguments: argparse.Namespace) -> None:
    from facekd.data_tools.clean import Identities
    from facekd.data_tools.image_set import open_labelled_set
    from facekd.data_tools.review_tables import duplicates_csv, exclude_csv, outliers_csv
    from facekd.files import write_text

    asked, out = arguments, Path(arguments.out)
    refuse_without_network(asked)
    refuse_existing([*(out / name for name in _FILES), asked.sheet], asked.force)
    images = open_labelled_set(asked.source)
    people = Identities(_embeddings(images, asked), images.known_people())
    outliers, duplicates = people.outliers(asked.threshold), people.duplicates(asked.same)
    fewer = duplicates.pairs[:, 0].tolist() if asked.drop_duplicates else []
    tables = (
        outliers_csv(images, outliers),
        duplicates_csv(images, people, duplicates),
        exclude_csv(images, outliers.images.tolist(), fewer),
    )
    for name, table in zip(_FILES, tables, strict=True):
        write_text(out / name, table)
    _tell(images, outliers, duplicates, out)
    if asked.sheet:
        _write_sheets(images, people, outliers, duplicates, Path(asked.sheet))


def _embeddings(images: "ImageSet", asked: argparse.Namespace) -> "NDArray[np.float32]":
    if asked.model:
        model = load_network(asked.model, asked)
        return embed_set(images.images, Path(images.path).stem, images.fingerprint, model, asked)
    from facekd.eval.embeddings import open_embeddings

    return open_embeddings(asked.embeddings, count=len(images)).faces()


def _tell(images: "ImageSet", outliers: "Outliers", duplicates: "Duplicates", out: Path) -> None:
    alone = len(images) - outliers.judged
    elsewhere = int((outliers.other_cosines >= outliers.like).sum())
    print(
        f"{images.path}: {len(images):,} images of {len(images.names):,} identities\n"
        f"{len(outliers.images):,} images are unlike their identity (cosine below "
        f"{outliers.threshold:.3f}), {elsewhere:,} of them like another (from "
        f"{outliers.like:.3f} on); {alone:,} are their identity's only one and were not judged\n"
        f"{len(duplicates.pairs):,} pairs of identities look like one (cosine from "
        f"{duplicates.threshold:.3f} on)\n"
        f"to look through: {', '.join(str(out / name) for name in _FILES)}"
    )


def _write_sheets(
    images: "ImageSet",
    people: "Identities",
    outliers: "Outliers",
    duplicates: "Duplicates",
    folder: Path,
) -> None:
    from facekd.data_tools.review_sheets import duplicate_sheets, outlier_sheets
    from facekd.data_tools.sheet import write_sheet

    for stem, sheets in (
        ("outliers", outlier_sheets(images, people, outliers)),
        ("duplicates", duplicate_sheets(images, people, duplicates)),
    ):
        for number, sheet in enumerate(sheets, 1):
            write_sheet(folder / f"{stem}-{number:02d}.png", sheet)
