"""What the images that a list names are looked up in: a folder, or a `.rec` or shards by ids."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..fingerprint import fingerprint
from .file_images import FileImages
from .images import Encoded, Image
from .labelled import LabelledImages, Stored, open_labelled
from .safe_paths import inside


class ImageRoot(Protocol):
    """Images by name.

    Attributes:
        meaning: What the right root of a list is, in words.
    """

    @property
    def meaning(self) -> str:
        """See above."""
        ...

    def has(self, name: str) -> bool:
        """Whether there is an image of that name."""
        ...

    def where(self, name: str) -> str:
        """The image in words, whether it is there or not."""
        ...

    def open(self, names: Sequence[str]) -> tuple[Stored, str]:
        """The images of these names, and their fingerprint."""
        ...


@dataclass(frozen=True)
class FolderRoot:
    """A folder; a name is a path below it, which no link may lead out of."""

    path: Path
    meaning: str = "the folder that the paths start from"

    def has(self, name: str) -> bool:
        """See `ImageRoot.has`."""
        return inside(self.path, name).is_file()

    def where(self, name: str) -> str:
        """See `ImageRoot.where`."""
        return str(self.path / name)

    def open(self, names: Sequence[str]) -> tuple[FileImages, str]:
        """See `ImageRoot.open`."""
        images = FileImages([self.path / name for name in names])
        return images, images.fingerprint


@dataclass(frozen=True)
class SetRoot:
    """A labelled set in one file; a name is an image's id in it."""

    path: Path
    labelled: LabelledImages
    meaning: str = "the file whose image ids the list names"

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.labelled.ids)}

    def has(self, name: str) -> bool:
        """See `ImageRoot.has`."""
        return name in self._rows

    def where(self, name: str) -> str:
        """See `ImageRoot.where`."""
        return f"{name} in {self.path}"

    def open(self, names: Sequence[str]) -> tuple["ChosenImages", str]:
        """See `ImageRoot.open`."""
        images = ChosenImages(self.labelled.images, [self._rows[name] for name in names])
        return images, fingerprint([self.labelled.fingerprint, *names])


@dataclass(frozen=True)
class ChosenImages:
    """Some images of a set, in an order of their own; picklable.

    Attributes:
        images: The set's.
        rows: Which of them.
    """

    images: Stored
    rows: Sequence[int]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> Image:
        return self.images[self.rows[index]]

    def encoded(self, index: int, /) -> Encoded:
        """The image's untouched bytes."""
        return self.images.encoded(self.rows[index])

    def take(self, rows: NDArray[np.int64], /) -> "ChosenImages":
        """See `Stored.take`."""
        return ChosenImages(self.images, [self.rows[i] for i in rows.tolist()])

    def where(self, index: int, /) -> str:
        """The image's place for a message."""
        return self.images.where(self.rows[index])


def open_root(path: str | Path) -> ImageRoot:
    """The folder of a path, or the labelled set where it is a `.rec` file or tar shards.

    Raises:
        FacekdError: As `open_labelled`.
    """
    path = Path(path)
    if path.suffix == ".rec" or (path.is_dir() and any(path.glob("*.tar"))):
        return SetRoot(path, open_labelled(path))
    return FolderRoot(path)
