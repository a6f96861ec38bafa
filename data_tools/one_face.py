"""The one face of a photograph, cut out upright."""

from dataclasses import dataclass
from pathlib import Path

from ..errors import FacekdError
from .align import SIZE, warp_face
from .detect import Detector, find_faces
from .images import Image, decode_rgb, read_encoded, resize


@dataclass(frozen=True)
class OneFace:
    """A face that was cut out, or a crop as it was.

    Attributes:
        crop: uint8 RGB (112, 112, 3).
        told: What there is to say of it, in words; "" where there is nothing.
    """

    crop: Image
    told: str = ""


def cut_face(path: str | Path, detector: Detector) -> OneFace:
    """Cut the largest and most central face out of a photograph (`detect.best_first`).

    Raises:
        FacekdError: The file is no image, or no face is found in it.
    """
    image = _read(path)
    found, with_border = find_faces(detector, image)
    if not len(found):
        raise FacekdError(
            f"{path}: no face found ({image.shape[1]}x{image.shape[0]} pixels); give a photograph "
            "in which it is larger or more upright, or a lower --score, or an aligned crop with "
            "--aligned."
        )
    told = []
    if len(found) > 1:
        told.append(f"{len(found)} faces found, the largest and most central one taken")
    if with_border:
        told.append("found only with a black border around it")
    try:
        return OneFace(warp_face(image, found.landmarks[0], SIZE), "; ".join(told))
    except FacekdError as error:
        raise FacekdError(f"{path}: {error}") from error


def read_crop(path: str | Path) -> OneFace:
    """Read a crop that is aligned already; one of another size is resized to 112x112.

    Raises:
        FacekdError: The file is no image, or it is not square.
    """
    image = _read(path)
    height, width = image.shape[:2]
    if height != width:
        raise FacekdError(
            f"{path} has {width}x{height} pixels; an aligned crop is square, so leave --aligned "
            "out and give --detector."
        )
    told = f"resized from {width}x{height} pixels; the verdict means nothing if it is not aligned"
    return OneFace(resize(image, SIZE), "" if height == SIZE else told)


def _read(path: str | Path) -> Image:
    encoded = read_encoded(Path(path))
    try:
        return decode_rgb(encoded)
    except FacekdError as error:
        raise FacekdError(f"{path}: {error}") from error
