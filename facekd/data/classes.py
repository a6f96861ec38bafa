"""The images of a classification stage: those it trains on, and those it is judged by."""

from dataclasses import replace

import numpy as np

from facekd.data.class_sources import open_classes, open_judged
from facekd.data.faces import FaceSet, choose
from facekd.data.sources import Source
from facekd.data_tools.labelmap import LabelMap
from facekd.errors import FacekdError, did_you_mean
from facekd.recipe import Data


def load_classes(data: Data, size: int) -> tuple[FaceSet, FaceSet]:
    """The training and the validation images, both under the training images' class numbers.

    Classes that the recipe leaves out (`min_images`, `max_identities`) are left out of both.

    Args:
        data: The recipe's data section.
        size: Side of the network's square input, in pixels.

    Raises:
        FacekdError: A setting that is for faces; files are missing; nothing is left.
    """
    _refuse(data)
    source, judged = open_classes(str(data.source))
    train, _ = choose(source, data, size)
    train = replace(train, centre=True)
    return train, _judged_by(judged, train.label_map, size, source.names)


def load_judged(source: str, label_map: LabelMap, size: int) -> FaceSet:
    """The images that finished networks are judged by, under the class numbers of one of them.

    Args:
        source: A folder of val/CLASS/, test/CLASS/ or CLASS/, or such as cifar100:FOLDER.
        label_map: The network's.
        size: Side of its input, in pixels.

    Raises:
        FacekdError: Files are missing, or an image is of a class that the network does not know.
    """
    return _judged_by(open_judged(source), label_map, size, label_map.names)


def _refuse(data: Data) -> None:
    if not isinstance(data.source, str) or data.source in ("synthetic", "none"):
        raise FacekdError(
            f"data.source: task: classification cannot train on {data.named!r}; name a folder of "
            "train/CLASS/ and val/CLASS/, or such as cifar100:FOLDER."
        )
    for key in ("unlabelled", "holdout"):
        if getattr(data, key):
            raise FacekdError(
                f"data.{key} is for faces; of classes the folder val/ (or test/) is held back; "
                f"leave {key!r} out."
            )
    if data.reading == "stream":
        raise FacekdError(
            "data.reading: 'stream' is for tar shards, and task: classification reads folders; "
            "leave it out."
        )


def _judged_by(source: Source, label_map: LabelMap, size: int, known: tuple[str, ...]) -> FaceSet:
    """The images of a label map's classes; those of others that are known are left out."""
    unknown = [name for name in source.names if name not in known]
    if unknown:
        raise FacekdError(
            f"the validation images have a class {unknown[0]!r} that the training images have not; "
            f"{did_you_mean(unknown[0], known)}"
        )
    number = {name: k for k, name in enumerate(label_map.names)}
    classes = np.array([number.get(name, -1) for name in source.names], np.int64)[source.labels]
    rows = np.flatnonzero(classes >= 0)
    if not len(rows):
        raise FacekdError("no validation image is of a class that is trained.")
    return FaceSet(source, rows, classes[rows], label_map, size, centre=True)
