"""LFW: downloaded by scikit-learn, then made into the field's files."""

import tarfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .images import encode_jpeg
from .items import Item, Items
from .labelled import LabelledImages, open_labelled
from .make_bin import SIZE, BinImages, save_bin
from .pair_files import from_lfw_pairs
from .pairs import FOLDS, PairSet
from .writers import write_set


@dataclass(frozen=True)
class Lfw:
    """Where scikit-learn keeps LFW.

    Attributes:
        photographs: The folder of `NAME/NAME_0001.jpg`, 250x250 and not aligned.
        pairs: View 2's `pairs.txt`.
    """

    photographs: Path
    pairs: Path


@dataclass(frozen=True)
class LfwBin:
    """What a `.bin` of LFW holds.

    Attributes:
        pairs: How many pairs.
        black: Images in it whose face was not found: they are black.
    """

    pairs: int
    black: int


def fetch_lfw(home: str | Path | None = None) -> Lfw:
    """LFW's photographs (not funneled) and pair lists, downloaded only where they are not there.

    By `sklearn.datasets.fetch_lfw_people`: it downloads `lfw.tgz` (about 180 MB), `pairs.txt`,
    `pairsDevTrain.txt` and `pairsDevTest.txt` to `HOME/lfw_home`, checks their sha256 and unpacks
    the archive; what stands there already it takes as it is. Every photograph is opened once.

    Args:
        home: scikit-learn's `data_home`; `~/scikit_learn_data` when None.

    Raises:
        FacekdError: A download fails, or what is there is damaged or was not unpacked to its end.
    """
    from sklearn.datasets import fetch_lfw_people, get_data_home

    folder = Path(get_data_home(home)) / "lfw_home"
    photographs = folder / "lfw"
    if photographs.exists() and (folder / "lfw.tgz").exists():
        raise FacekdError(
            f"{folder} holds lfw.tgz and lfw/: unpacking was interrupted; remove lfw/ and run "
            "again."
        )
    pixel = slice(0, 1)
    try:
        fetch_lfw_people(data_home=home, funneled=False, slice_=(pixel, pixel), resize=None)
    except (OSError, EOFError, ValueError, tarfile.TarError) as error:
        raise FacekdError(
            f"scikit-learn gets no LFW ({type(error).__name__}: {error}); remove what is damaged "
            f"in {folder}, or, without a network, put lfw.tgz, pairs.txt, pairsDevTrain.txt and "
            "pairsDevTest.txt there."
        ) from error
    return Lfw(photographs, folder / "pairs.txt")


def lfw_pairs(pairs: Path, folder: Path, *, missing_ok: bool = False) -> PairSet:
    """View 2's pairs.

    Args:
        pairs: `pairs.txt`.
        folder: The folder of `NAME/NAME_0001.jpg`.
        missing_ok: An image that is not there is a face that was not found.

    Raises:
        FacekdError: The list is no list of pairs, or an image is not there.
    """
    return from_lfw_pairs(pairs, folder, name="lfw", missing_ok=missing_ok)


def write_lfw_bin(path: Path, pairs: PairSet, aligned: Path) -> LfwBin:
    """Write pairs as a `.bin`, in the list's order; crops untouched, missing ones black.

    Raises:
        FacekdError: The disk is full.
    """
    assert pairs.ids is not None
    black = encode_jpeg(np.zeros((SIZE, SIZE, 3), np.uint8))
    encoded, missing = [], set()
    for number, image in enumerate(pairs.ids):
        file = aligned / image
        if file.is_file():
            encoded.append(file.read_bytes())
        else:
            encoded.append(black)
            missing.add(number)
    save_bin(path, pairs, BinImages(encoded, len(encoded) - len(missing), 0))
    used = np.union1d(pairs.left, pairs.right).tolist()
    return LfwBin(len(pairs), len(missing.intersection(used)))


def in_folds(pairs: PairSet, folds: Collection[int]) -> NDArray[np.int64]:
    """The numbers of the pairs in some folds, counted from 1 as LFW's authors count.

    Raises:
        FacekdError: A fold that there is not.
    """
    if pairs.folds is None or not set(folds) <= set(range(1, FOLDS + 1)):
        raise FacekdError(f"{pairs.name}: folds {sorted(folds)}; it has 1 to {FOLDS}.")
    return np.flatnonzero(np.isin(pairs.folds, [fold - 1 for fold in folds]))


def only(pairs: PairSet, numbers: NDArray[np.int64]) -> PairSet:
    """Some of the pairs, in their order, without folds."""
    return replace(
        pairs,
        left=pairs.left[numbers],
        right=pairs.right[numbers],
        same=pairs.same[numbers],
        folds=None,
    )


def people_of(pairs: PairSet, numbers: NDArray[np.int64]) -> set[str]:
    """The people of some pairs, by the folders of their images."""
    assert pairs.ids is not None
    images = np.unique(np.concatenate([pairs.left[numbers], pairs.right[numbers]]))
    return {pairs.ids[image].split("/")[0] for image in images}


def write_training_set(
    path: Path, aligned: Path, without: Collection[str], force: bool = False
) -> tuple[int, int]:
    """Write everyone but some people to a `.rec`, labels from 0 in the order of the folder.

    Returns:
        How many images and how many people it holds.

    Raises:
        FacekdError: Nobody is left, or as `write_set`.
    """
    labelled = open_labelled(aligned)
    names = [name for name in labelled.names or () if name not in without]
    return write_set(_items(labelled, names), path, force=force), len(names)


def _items(labelled: LabelledImages, names: list[str]) -> Iterator[Item]:
    labels = {name: label for label, name in enumerate(names)}
    for item in Items(labelled):
        if item.identity in labels:
            yield item._replace(label=labels[item.identity], key=None)
