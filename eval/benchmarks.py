"""Benches by name: the `.bin` files of a data folder, and the synthetic one that needs no file."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data_tools.pairs import FOLDS, PairSet, from_bin, from_labels
from ..data_tools.synthetic import SyntheticFaces
from ..errors import FacekdError

DATA_VARIABLE = "FACEKD_DATA"
SYNTHETIC = "synthetic"
SYNTHETIC_IDENTITIES = 600
SYNTHETIC_IMAGES_EACH = 8
SYNTHETIC_PAIRS = 20_000


@dataclass(frozen=True)
class Bench:
    """A named set of verification pairs, not yet read.

    Attributes:
        name: What tables call it.
        path: Its `.bin` file; None for the synthetic bench.
    """

    name: str
    path: Path | None

    @property
    def source(self) -> str:
        """Where the pairs come from, in words."""
        if self.path is not None:
            return str(self.path)
        return (
            f"synthetic: {SYNTHETIC_IDENTITIES} drawn identities x {SYNTHETIC_IMAGES_EACH} images, "
            "none of them in training"
        )

    def load(self, input_size: int) -> PairSet:
        """Read the pairs; the synthetic bench is drawn at `input_size` pixels.

        Raises:
            FacekdError: The file cannot be read, or verification is not defined on it.
        """
        return synthetic_pairs(input_size) if self.path is None else from_bin(self.path, self.name)


@dataclass(frozen=True)
class _Drawn:
    """Synthetic faces as a sequence of images; each is drawn once and kept (180 MB at 112 px)."""

    faces: SyntheticFaces
    kept: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        if index not in self.kept:
            self.kept[index] = self.faces.image(index)
        return self.kept[index]


def synthetic_pairs(
    size: int,
    *,
    identities: int = SYNTHETIC_IDENTITIES,
    images_each: int = SYNTHETIC_IMAGES_EACH,
    pairs: int = SYNTHETIC_PAIRS,
) -> PairSet:
    """Pairs of drawn faces of evaluation identities, always the same ones.

    Args:
        size: Side of the images in pixels.
        identities: How many identities.
        images_each: Images of each.
        pairs: Pairs in all, half of them genuine.
    """
    faces = SyntheticFaces(identities, images_each, size=size, split="eval")
    return from_labels(_Drawn(faces), faces.labels, pairs, FOLDS, name=SYNTHETIC)


def data_folder(given: str | Path | None = None) -> Path | None:
    """The data folder: the one given, else the one FACEKD_DATA names, else None.

    Raises:
        FacekdError: It is named, but is not a folder.
    """
    named = given or os.environ.get(DATA_VARIABLE)
    if not named:
        return None
    folder = Path(named)
    if not folder.is_dir():
        how = "--data" if given else DATA_VARIABLE
        raise FacekdError(
            f"{how} names {folder}, which is not a folder; give the one with .bin files."
        )
    return folder


def list_benches(data: Path | None) -> list[Bench]:
    """The synthetic bench and every `.bin` of the data folder and its direct subfolders."""
    found = [] if data is None else sorted([*data.glob("*.bin"), *data.glob("*/*.bin")])
    return [Bench(SYNTHETIC, None), *(Bench(path.stem, path) for path in found)]


def find_bench(name: str, data: Path | None) -> Bench:
    """The bench of a name: `synthetic`, the stem of a `.bin` in the data folder, or a `.bin` path.

    `DATA/name.bin` comes before `DATA/*/name.bin`.

    Args:
        name: What the user typed.
        data: The data folder, if there is one.

    Raises:
        FacekdError: Nothing of that name, or two files; the message says where was looked.
    """
    if name.endswith(".bin"):
        path = Path(name)
        if not path.is_file():
            raise FacekdError(f"bench file {path} is not there; check the path.")
        return Bench(path.stem, path)
    if Path(name).exists() and Path(name).name != name:
        raise FacekdError(f"bench {name} is no .bin file; give one, or its folder as --data.")
    benches = list_benches(data)
    matches = [bench for bench in benches if bench.name == name]
    direct = [bench for bench in matches if bench.path is None or bench.path.parent == data]
    if direct:
        return direct[0]
    if len(matches) > 1:
        files = " and ".join(str(bench.path) for bench in matches)
        raise FacekdError(f"bench {name!r} is both {files}; give the path of the one you mean.")
    if matches:
        return matches[0]
    known = ", ".join(sorted({bench.name for bench in benches}))
    if data is None:
        raise FacekdError(
            f"bench {name!r} needs {name}.bin and no data folder is known (benches: {known}); "
            f"set {DATA_VARIABLE}, or give facekd-eval --data DIR."
        )
    raise FacekdError(
        f"bench {name!r}: looked for {data / name}.bin and {data / '*' / name}.bin, found neither "
        f"(known benches: {known}); put the file there or give its path."
    )
