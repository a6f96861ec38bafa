"""The images of a classification stage: those it trains on, and those it is judged by."""

from dataclasses import replace

import numpy as np

from facekd.data.class_sources import open_classes
from facekd.data.faces import FaceSet, choose
from facekd.data.sources import Source
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
    return train, _judged_by(judged, train, source.names)


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


def _judged_by(source: Source, train: FaceSet, known: tuple[str, ...]) -> FaceSet:
    """The images of the classes that are trained."""
    unknown = [name for name in source.names if name not in known]
    if unknown:
        raise FacekdError(
            f"data.source: the validation images have a class {unknown[0]!r} that the training "
            f"images have not; {did_you_mean(unknown[0], known)}"
        )
    number = {name: k for k, name in enumerate(train.label_map.names)}
    classes = np.array([number.get(name, -1) for name in source.names], np.int64)[source.labels]
    rows = np.flatnonzero(classes >= 0)
    if not len(rows):
        raise FacekdError("data.source: no validation image is of a class that is trained.")
    return FaceSet(source, rows, classes[rows], train.label_map, train.size, centre=True)
