"""Images with classes: a folder of `train/` and `val/`, or a known set as it comes.

torchvision's CIFAR files are pickles. Its reader compares every file with an MD5 sum of its own
before it opens one, so nothing is unpickled but what the set's makers published.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facekd.data.sources import Complete, NamedSource, Source
from facekd.data_tools.file_images import FileImages
from facekd.errors import FacekdError, did_you_mean
from facekd.fingerprint import fingerprint

_JUDGED_BY = ("val", "test")  # the first that is there

Parts = tuple[Source, Source]


class ArraySource(Complete):
    """Images in memory.

    Args:
        images: uint8 RGB (n, h, w, 3).
        labels: Class numbers.
        names: Class names.
        mark: Short hash of the images.
    """

    def __init__(
        self, images: NDArray[np.uint8], labels: Sequence[int], names: Sequence[str], mark: str
    ) -> None:
        self.images, self.names = images, tuple(names)
        self.labels = np.array(labels, np.int64)
        self.index = np.arange(len(self.labels), dtype=np.int64)
        self.label_space, self.fingerprint = "", mark

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        image: NDArray[np.uint8] = self.images[i]
        return image

    def called(self) -> tuple[Sequence[str], Sequence[str]]:
        """See `Source.called`; images are called by their number."""
        return [str(i) for i in range(len(self.labels))], self.names


class FileSource(Complete):
    """Image files whose classes are listed elsewhere.

    Args:
        root: A folder that they are all in.
        paths: The files.
        labels: Class numbers.
        names: Class names.
    """

    def __init__(
        self, root: Path, paths: Sequence[Path], labels: Sequence[int], names: Sequence[str]
    ) -> None:
        self.images, self.names = FileImages(paths), tuple(names)
        self.labels = np.array(labels, np.int64)
        self.index = np.arange(len(self.labels), dtype=np.int64)
        self.label_space = ""
        self._places = [path.relative_to(root).as_posix() for path in paths]
        sizes = [str(path.stat().st_size) for path in paths if path.is_file()]
        self.fingerprint = fingerprint([*self._places, *sizes, *map(str, labels)])

    def image(self, i: int) -> NDArray[np.uint8]:
        """See `Source.image`."""
        return self.images[i]

    def called(self) -> tuple[Sequence[str], Sequence[str]]:
        """See `Source.called`; images are called by their path in the set's folder."""
        return self._places, self.names


def open_classes(source: str) -> Parts:
    """The images to train on, and those to judge by.

    Args:
        source: `cifar10:FOLDER` or another name of `READERS`, or a folder of `train/CLASS/*.jpg`
            and `val/CLASS/*.jpg`; `test/` serves where there is no `val/`.

    Raises:
        FacekdError: Something is missing, or is not what the set's makers published.
    """
    read = _known_set(source)
    if read is not None:
        return read
    path = Path(source).expanduser()
    judged = _judged_folder(path)
    if (path / "train").is_dir() and judged is not None:
        return NamedSource(path / "train"), NamedSource(judged)
    what = "lacks train/ or val/ (or test/)" if path.is_dir() else "is no folder"
    raise FacekdError(
        f"data.source: {source} {what}; with task: classification name a folder of train/CLASS/ "
        f"and val/CLASS/, or {_readers(source)}"
    )


def open_judged(source: str) -> Source:
    """The images to judge by alone.

    Args:
        source: As `open_classes` takes it, `train/` left out; or a folder of CLASS/*.jpg.

    Raises:
        FacekdError: As `open_classes`.
    """
    read = _known_set(source)
    if read is not None:
        return read[1]
    path = Path(source).expanduser()
    if not path.is_dir():
        raise FacekdError(
            f"--classes: {source} is no folder; name one of val/CLASS/ or of CLASS/, or "
            f"{_readers(source)}"
        )
    return NamedSource(_judged_folder(path) or path)


def _judged_folder(path: Path) -> Path | None:
    return next((path / part for part in _JUDGED_BY if (path / part).is_dir()), None)


def _readers(source: str) -> str:
    """What stands before a colon, in words, with the near names of a wrong one."""
    name, found, _ = source.partition(":")
    hint = f"; {did_you_mean(name, READERS)}" if found else "."
    return ", ".join(f"{reader}:FOLDER" for reader in READERS) + hint


def _known_set(source: str) -> Parts | None:
    """The two parts of one of `READERS`; None where the source is not of that kind."""
    name, found, folder = source.partition(":")
    if not found or name not in READERS:
        return None
    try:
        return READERS[name](Path(folder).expanduser())
    except (RuntimeError, OSError, LookupError, ValueError) as error:
        raise FacekdError(
            f"there is no whole {name} set in {folder} ({str(error).splitlines()[0]}); nothing is "
            "downloaded here: put the set's files there, unpacked as they come."
        ) from error


def _cifar(kind: str) -> Callable[[Path], Parts]:
    def read(folder: Path) -> Parts:
        from torchvision import datasets

        reader = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[kind]

        def part(train: bool) -> Source:
            read: Any = reader(str(folder), train=train)
            sums = [md5 for _, md5 in (read.train_list if train else read.test_list)]
            return ArraySource(read.data, read.targets, read.classes, fingerprint([kind, *sums]))

        return part(True), part(False)

    return read


def _cars(folder: Path) -> Parts:
    from torchvision.datasets import StanfordCars

    def part(split: Any) -> Source:
        read: Any = StanfordCars(str(folder), split=split)
        paths, labels = zip(*read._samples, strict=True)
        return FileSource(folder, [Path(path) for path in paths], labels, read.classes)

    return part("train"), part("test")


def _aircraft(folder: Path) -> Parts:
    from torchvision.datasets import FGVCAircraft

    def part(split: Any) -> Source:
        read: Any = FGVCAircraft(str(folder), split=split)
        return _of_files(folder, read)

    return part("trainval"), part("test")


def _food(folder: Path) -> Parts:
    from torchvision.datasets import Food101

    def part(split: Any) -> Source:
        read: Any = Food101(str(folder), split=split)
        return _of_files(folder, read)

    return part("train"), part("test")


def _cub(folder: Path) -> Parts:
    """CUB-200-2011 by its own lists, each line a number and a word."""
    root = folder / "CUB_200_2011"

    def column(name: str) -> list[str]:
        lines = (root / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        pairs = sorted((int(number), word) for number, word in map(str.split, lines))
        if [number for number, _ in pairs] != list(range(1, len(pairs) + 1)):
            raise ValueError(f"{name}.txt does not number its lines from 1")
        return [word for _, word in pairs]

    names, places = column("classes"), column("images")
    labels = [int(label) - 1 for label in column("image_class_labels")]
    trained = [part == "1" for part in column("train_test_split")]

    def part(train: bool) -> Source:
        rows = zip(places, labels, trained, strict=True)
        kept = [(root / "images" / place, label) for place, label, of in rows if of == train]
        paths, own = zip(*kept, strict=True)
        return FileSource(root, paths, own, names)

    return part(True), part(False)


def _of_files(folder: Path, read: Any) -> Source:
    return FileSource(folder, [Path(f) for f in read._image_files], read._labels, read.classes)


READERS: dict[str, Callable[[Path], Parts]] = {
    "cifar10": _cifar("cifar10"),
    "cifar100": _cifar("cifar100"),
    "cars": _cars,
    "aircraft": _aircraft,
    "food101": _food,
    "cub": _cub,
}
