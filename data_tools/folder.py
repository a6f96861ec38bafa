"""Image folders: one sub-folder an identity, `name/*.jpg`."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..errors import FacekdError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


@dataclass(frozen=True)
class FolderListing:
    """The images of a folder, by identity and then by file name.

    Attributes:
        paths: One file an image.
        labels: int64 (n,), indices into `names`.
        names: Folder names, one an identity.
    """

    paths: list[Path]
    labels: npt.NDArray[np.int64]
    names: list[str]


def list_folder(path: str | Path) -> FolderListing:
    """List `path/name/*.jpg` (also jpeg, png, bmp, webp; hidden files and folders left out).

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
            f"{root} holds {len(loose)} loose images ({loose[0].name} ...): "
            "put each person's images into a sub-folder of their own."
        )
    folders = _natural([p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")])
    if not folders:
        raise FacekdError(
            f"{root} has no sub-folders: expected {root}/NAME/*.jpg, one per identity."
        )
    paths: list[Path] = []
    counts: list[int] = []
    for folder in folders:
        images = _images(folder)
        if not images:
            raise FacekdError(
                f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}): leave it out, or, "
                f"if it holds the people's folders, give {folder} instead."
            )
        paths += images
        counts.append(len(images))
    labels = np.repeat(np.arange(len(folders), dtype=np.int64), counts)
    return FolderListing(paths, labels, [folder.name for folder in folders])


def _images(folder: Path) -> list[Path]:
    return _natural(
        [
            p
            for p in folder.iterdir()
            if p.suffix.lower() in SUFFIXES and not p.name.startswith(".") and p.is_file()
        ]
    )


def _natural(paths: list[Path]) -> list[Path]:
    return sorted(paths, key=lambda p: (natural_key(p.name), p.name))


def natural_key(name: str) -> list[str | int]:
    """Sorts names as people read them: numbers by value, capitals like small letters."""
    parts = re.split(r"([0-9]+)", name.casefold())
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]
