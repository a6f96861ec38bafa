"""Image folders: one sub-folder an identity, `name/*.jpg`."""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import FacekdError
from .columns import Column
from .texts import Texts

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".pgm"})
"""What files count as images by: the kinds that `images.decode_rgb` reads."""
UNKNOWN_SUFFIX = ".img"
"""What an image of a set is written under when its bytes are of no such kind."""


@dataclass(frozen=True)
class FolderListing:
    """The images of a folder, by identity and then by file name.

    Attributes:
        places: One file an image: its path below the folder, with a forward slash.
        labels: int64 (n,), indices into `names`.
        names: Folder names, one an identity.
    """

    places: Texts
    labels: npt.NDArray[np.int64]
    names: list[str]


def images_below(root: Path) -> Iterator[str]:
    """Paths of the images in a folder and in all folders below it, in no order of its own.

    Hidden files and folders are left out; links to folders are followed, but no folder is entered
    twice.

    Raises:
        FacekdError: A file's name is no text.
    """
    seen = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in files:
            if not is_image_name(name):
                continue
            below = Path(folder, name).relative_to(root).as_posix()
            if not below.isprintable():
                raise FacekdError(f"{root}: the file name {below!r} is no text; rename it.")
            yield below


def list_folder(path: str | Path) -> FolderListing:
    """List `path/name/*.jpg` (see `SUFFIXES`; hidden files and folders left out).

    Names are sorted as people read them (`img2` before `img10`), the same on every machine.

    Raises:
        FacekdError: No such folder, no identity folders in it, an identity without images, or
            images that lie loose beside the identity folders.
    """
    root = Path(path)
    if not root.is_dir():
        raise FacekdError(f"{root} is not a folder.")
    loose = _images(root)
    if loose:
        raise FacekdError(
            f"{root} holds {len(loose)} loose images ({loose[0]} ...): "
            "put each person's images into a sub-folder of their own."
        )
    with os.scandir(root) as entries:
        folders = _natural(e.name for e in entries if not e.name.startswith(".") and e.is_dir())
    if not folders:
        raise FacekdError(
            f"{root} has no sub-folders: expected {root}/NAME/*.jpg, one per identity."
        )
    places, labels = Texts(), Column()
    for label, folder in enumerate(folders):
        images = _images(root / folder)
        if not images:
            raise FacekdError(
                f"{root / folder} holds no images ({', '.join(sorted(SUFFIXES))}): leave it out, "
                f"or, if it holds the people's folders, give {root / folder} instead."
            )
        for image in images:
            places.append(f"{folder}/{image}")
        labels.extend(np.full(len(images), label))
    return FolderListing(places, labels.numbers, folders)


def is_image_name(name: str) -> bool:
    """Whether a file of this name counts as an image: by its suffix, and not hidden."""
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def _images(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return _natural(e.name for e in entries if is_image_name(e.name) and e.is_file())


def _natural(names: Iterable[str]) -> list[str]:
    return sorted(names, key=lambda name: (natural_key(name), name))


def natural_key(name: str) -> list[str | int]:
    """Sorts names as people read them: numbers by value, capitals like small letters."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]
