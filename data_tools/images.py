"""Encoded image bytes to RGB arrays and back."""

import stat
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import FacekdError
from .image_size import JPEG_START, check_size

MAX_ENCODED = 1 << 28  # bytes; a larger file is no photograph

Image = npt.NDArray[np.uint8]
Encoded = bytes | bytearray | memoryview

_JPEG_END = b"\xff\xd9"


def decode_rgb(encoded: Encoded) -> Image:
    """Decode a JPEG, PNG, BMP, WebP or PNM image without copying its bytes.

    Its size is read from its header first, and nothing is allocated for an image of more than
    `image_size.MAX_PIXELS`.

    Args:
        encoded: The file's bytes.

    Returns:
        uint8 (h, w, 3), RGB, 0..255.

    Raises:
        FacekdError: The bytes are no image, or one that is too large; or a JPEG that ends too
            early (decoders fill the rest of such an image with grey and say nothing).
    """
    if len(encoded) > MAX_ENCODED:
        raise FacekdError(f"{len(encoded)} bytes are too many for one image (at most 256 MiB).")
    check_size(encoded)
    if encoded[-2:] != _JPEG_END and encoded[:2] == JPEG_START and _JPEG_END not in bytes(encoded):
        raise FacekdError(f"a JPEG of {len(encoded)} bytes is cut short: it has no end marker.")
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise FacekdError(f"{len(encoded)} bytes do not decode as an image.") from error
    if image is None:
        raise FacekdError(f"{len(encoded)} bytes do not decode as an image.")
    return image.astype(np.uint8, copy=False)


def read_encoded(path: Path) -> bytes:
    """An image file's bytes, as they are.

    Raises:
        FacekdError: It cannot be read, is no regular file, or is too large for an image.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FacekdError(f"cannot read the image {path}: it is no regular file.")
        if status.st_size > MAX_ENCODED:
            raise FacekdError(
                f"{path} has {status.st_size} bytes, too many for one image (at most 256 MiB)."
            )
        return path.read_bytes()
    except OSError as error:
        raise FacekdError(f"cannot read the image {path}: {error.strerror or error}.") from error


def encode_jpeg(image: Image, quality: int = 95) -> bytes:
    """Encode a uint8 (h, w, 3) RGB image as JPEG bytes; `quality` is 0..100."""
    done, encoded = cv2.imencode(
        ".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    if not done:
        raise FacekdError(f"an image of shape {image.shape} cannot be encoded as JPEG.")
    return encoded.tobytes()


def resize(image: Image, size: int) -> Image:
    """Resize to (size, size): by area averages when shrinking, else bilinear."""
    if image.shape[:2] == (size, size):
        return image
    shrinking = size < min(image.shape[:2])
    how = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    return cv2.resize(image, (size, size), interpolation=how).astype(np.uint8, copy=False)


def centre_crop(image: Image, size: int) -> Image:
    """The central square, resized to (size, size): what classifiers are usually judged on.

    Its side is 7/8 of the image's shorter one, as of 224 pixels out of 256.
    """
    height, width = image.shape[:2]
    side = max(1, round(min(height, width) * 7 / 8))
    top, left = (height - side) // 2, (width - side) // 2
    return resize(np.ascontiguousarray(image[top : top + side, left : left + side]), size)
