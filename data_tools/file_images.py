"""Image files as a sequence of images, each decoded when it is asked for."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..errors import FacekdError
from ..fingerprint import fingerprint
from .images import Image, decode_rgb, read_encoded


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
        root = os.path.commonpath([path.parent for path in self.paths])
        try:
            stats = [path.stat() for path in self.paths]
        except OSError as error:
            raise FacekdError(
                f"cannot read the image {error.filename}: {error.strerror}."
            ) from error
        return fingerprint(
            f"{path.relative_to(root)} {stat.st_size} {stat.st_mtime_ns}"
            for path, stat in zip(self.paths, stats, strict=True)
        )
