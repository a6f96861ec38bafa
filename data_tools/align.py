"""Five landmarks to an upright face: the similarity warp the field's crops are made with."""

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .images import Image

SIZE = 112
TEMPLATE = np.array(
    [
        [38.2946, 51.6963],
        [73.5318, 51.5014],
        [56.0252, 71.7366],
        [41.5493, 92.3655],
        [70.7299, 92.2041],
    ],
    dtype=np.float32,
)
"""(x, y) of left eye, right eye, nose tip, left and right mouth corner in a 112-pixel crop."""
_MIDDLE = complex(*TEMPLATE.mean(axis=0, dtype=np.float64))
_SPREAD = TEMPLATE.astype(np.float64) @ (1, 1j) - _MIDDLE
_POINT = 1e-6  # pixels: landmarks that spread less than this are one point


def similarity(landmarks: NDArray[np.floating], size: int = SIZE) -> NDArray[np.float64]:
    """The turn, scale and shift that lay landmarks on the template best, by least squares.

    Umeyama's estimate (IEEE TPAMI 13(4), 1991, eq. 40-42). With points as complex numbers about
    their means it is one quotient, a = sum(conj(s) t) / sum(|s|^2); reflections are left out.

    Args:
        landmarks: (5, 2), x and y in pixels: eyes, nose tip, mouth corners; left ones first.
        size: Side of the crop in pixels.

    Returns:
        float64 (2, 3), image to crop, as `cv2.warpAffine` takes it.

    Raises:
        FacekdError: Not five finite points, or points that fix no turn or scale.
    """
    points = np.ascontiguousarray(landmarks, dtype=np.float64)
    if points.shape != TEMPLATE.shape or not np.isfinite(points).all():
        raise FacekdError(
            f"landmarks of shape {points.shape} ({np.count_nonzero(~np.isfinite(points))} not "
            "finite); expected x and y of five points in pixels."
        )
    source = points.view(np.complex128)[:, 0]
    middle = source.mean()
    spread = source - middle
    power = np.vdot(spread, spread).real
    if power < _POINT**2:
        raise FacekdError(
            f"all five landmarks lie on one point, ({points[0, 0]:g}, {points[0, 1]:g}); there is "
            "no face to turn upright."
        )
    turn = np.vdot(spread, _SPREAD) / power * (size / SIZE)
    if abs(turn) < _POINT:
        raise FacekdError(
            f"the landmarks {points.round(1).tolist()} fit a face in no direction; expected left "
            "eye, right eye, nose tip, left and right mouth corner, as seen in the picture."
        )
    shift = _MIDDLE * (size / SIZE) - turn * middle
    return np.array([[turn.real, -turn.imag, shift.real], [turn.imag, turn.real, shift.imag]])


def warp_face(image: Image, landmarks: NDArray[np.floating], size: int = SIZE) -> Image:
    """Cut an upright face out of a picture: bilinear, black where the picture ends.

    Args:
        image: uint8 (h, w, 3).
        landmarks: (5, 2), as `similarity` takes them.
        size: Side of the crop in pixels.

    Returns:
        uint8 (size, size, 3).

    Raises:
        FacekdError: As `similarity` does.
    """
    matrix = similarity(landmarks, size)
    warped = cv2.warpAffine(image, matrix, (size, size), flags=cv2.INTER_LINEAR, borderValue=0)
    return warped.astype(np.uint8, copy=False)
