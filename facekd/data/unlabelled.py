"""Images whose people are not known, alone or behind labelled ones: their label is -1."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.data.sources import Complete, Source, open_files
from facekd.data_tools.file_images import FileImages, PathsBelow
from facekd.data_tools.folder import images_below
from facekd.data_tools.labelled import OnBad
from facekd.data_tools.tar_shards import find_shards
from facekd.errors import FacekdError
from facekd.fingerprint import fingerprint


class LooseImages(Complete):
    """Every image file below a folder, in whatever folders; nobody is named."""

    names: tuple[str, ...] = ()
    label_space = ""

    def __init__(self, path: Path) -> None:
        self._ids = sorted(images_below(path))
        if not self._ids:
            raise FacekdError(f"data.unlabelled: {path} has no images in it.")
        self.images = FileImages(PathsBelow(path, self._ids))
        self.labels = np.full(len(self._ids), -1, np.int64)
        self.index = np.arange(len(self._ids), dtype=np.int64)
        sizes = (f"{i} {(path / i).stat().st_size}" for i in self._ids)
        self.fingerprint = fingerprint(sizes)

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        return self.images[i]

    def called(self) -> tuple[Sequence[str], Sequence[str]]:
        """See `Source.called`."""
        return self._ids, ()


class Nobody:
    """A source without its labels.

    Args:
        source: Whose identities are not to be used.
    """

    names: tuple[str, ...] = ()
    label_space = ""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.labels = np.full(len(source.labels), -1, np.int64)
        self.index, self.skipped = source.index, source.skipped
        self.fingerprint = source.fingerprint

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        return self.source.image(i)

    def called(self) -> tuple[Sequence[str], Sequence[str]]:
        """See `Source.called`."""
        return self.source.called()[0], ()

    def called_skipped(self) -> Sequence[str]:
        """See `Source.called_skipped`."""
        return self.source.called_skipped()


class Mixed:
    """A labelled source, and behind it images without labels.

    Args:
        labelled: Gives the identities; its images come first.
        unlabelled: Its images follow, their record ids above the first ones'.
    """

    def __init__(self, labelled: Source, unlabelled: Source) -> None:
        self.parts = labelled, unlabelled
        self.names, self.label_space = labelled.names, labelled.label_space
        self.labels = np.concatenate([labelled.labels, unlabelled.labels])
        above = int(labelled.index.max(initial=-1)) + 1
        self.index = np.concatenate([labelled.index, above + unlabelled.index])
        self.skipped = labelled.skipped + unlabelled.skipped
        self.fingerprint = fingerprint([labelled.fingerprint, unlabelled.fingerprint])

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        first = len(self.parts[0].labels)
        return self.parts[0].image(i) if i < first else self.parts[1].image(i - first)

    def called(self) -> tuple[Sequence[str], Sequence[str]]:
        """See `Source.called`."""
        (ids, names), (more, _) = (part.called() for part in self.parts)
        return [*ids, *more], names

    def called_skipped(self) -> Sequence[str]:
        """See `Source.called_skipped`."""
        return [name for part in self.parts for name in part.called_skipped()]


def open_unlabelled(where: str, on_bad_record: OnBad) -> Source:
    """The images of a folder, `.rec` files or tar shards, whatever labels they have left aside.

    Raises:
        FacekdError: There is no such file or folder, or it has no images.
    """
    path = Path(where)
    packed = (path.is_dir() and any(path.glob("*.rec"))) or find_shards(path)
    if path.is_dir() and not packed:
        return LooseImages(path)
    return Nobody(open_files(where, on_bad_record, "data.unlabelled"))
