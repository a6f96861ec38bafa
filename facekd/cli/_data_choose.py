"""What `facekd-data split`, `subset` and `merge` share."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.data_tools.items import Item
    from facekd.data_tools.labelled import LabelledImages
    from facekd.data_tools.selected_sets import Chosen
    from facekd.data_tools.writers import SetKind

KINDS = ("rec", "folder", "tar")
SET_HELP = "a folder of NAME/*.jpg, a .rec or tar shards"


def show_progress(chosen: "Chosen", what: str) -> "Iterable[Item]":
    """Draw a bar on stderr while the images are read."""
    from tqdm import tqdm

    return tqdm(chosen, desc=what, unit=" images", file=sys.stderr, mininterval=0.5)


def kind_of_source(source: "LabelledImages") -> "SetKind":
    """What a set is stored as."""
    from facekd.data_tools.file_images import FileImages
    from facekd.data_tools.labelled import RecordImages

    if isinstance(source.images, RecordImages):
        return "rec"
    return "folder" if isinstance(source.images, FileImages) else "tar"


def refuse_inside(out: str, sources: Sequence[str]) -> None:
    """Refuse to write over, or into, what is read.

    Raises:
        FacekdError: The output is a source or lies inside one.
    """
    place = Path(out).resolve()
    for source in sources:
        if place.is_relative_to(Path(source).resolve()):
            raise FacekdError(f"{out} is, or lies in, {source}, which is read; give another place.")


def describe(path: Path) -> str:
    """A written set: how many images and identities, and its label map."""
    import numpy as np

    from facekd.data_tools.inspect import label_map
    from facekd.data_tools.labelled import open_labelled

    made = open_labelled(path)
    return (
        f"{path}: {len(made.images)} images of {len(np.unique(made.labels))} identities, "
        f"label map {label_map(made).hash}"
    )
