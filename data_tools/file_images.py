"""Image files as a sequence of images, each decoded when it is asked for."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..fingerprint import fingerprint
from .images import Image, decode_rgb, read_encoded


@dataclass(frozen=True)
class PathsBelow(Sequence[Path]):
    """The paths of files below a folder, each made when it is asked for; picklable.

    Attributes:
        root: The folder.
        places: Their paths from there, with forward slashes.
    """

    root: Path
    places: Sequence[str]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> Path:  # type: ignore[override]
        return self.root / self.places[i]


@dataclass(frozen=True)
class FileImages:
    """Image files, one image each, decoded one at a time on access; picklable.

    Attributes:
        paths: The n files.
    """

    paths: Sequence[Path]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Image:
        encoded = self.encoded(index)
        try:
            return decode_rgb(encoded)
        except FacekdError as error:
            raise FacekdError(f"{self.paths[index]}: {error}") from error

    def encoded(self, index: int, /) -> bytes:
        """The file's bytes, as they are.

        Raises:
            FacekdError: It cannot be read.
        """
        return read_encoded(self.paths[index])

    def take(self, rows: NDArray[np.int64], /) -> "FileImages":
        """These images alone, for another process."""
        return FileImages([self.paths[i] for i in rows.tolist()])

    def where(self, index: int, /) -> str:
        """The file's name for a message."""
        return str(self.paths[index])

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of every file's name (below their common folder), size and time of change.

        Raises:
            FacekdError: A file is not there.
        """
        if not self.paths:
            return fingerprint([])
        root = os.path.dirname(self.paths[0])
        for folder, _ in groupby(map(os.path.dirname, self.paths)):
            root = os.path.commonpath([root, folder])
        prefix = os.path.join(root, "") if root else ""
        return fingerprint(
            f"{os.fspath(path).removeprefix(prefix)} {stat.st_size} {stat.st_mtime_ns}"
            for path, stat in ((path, _stat(path)) for path in self.paths)
        )


def _stat(path: Path) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise FacekdError(f"cannot read the image {path}: {error.strerror}.") from error
