"""Encoded image bytes to RGB arrays and back."""

import cv2
import numpy as np
import numpy.typing as npt

from ..errors import FacekdError

Image = npt.NDArray[np.uint8]
Encoded = bytes | bytearray | memoryview

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


def decode_rgb(encoded: Encoded) -> Image:
    """Decode a JPEG, PNG, BMP or WebP image without copying its bytes.

    Args:
        encoded: The file's bytes.

    Returns:
        uint8 (h, w, 3), RGB, 0..255.

    Raises:
        FacekdError: The bytes are no image, or a JPEG that ends too early (decoders fill the rest
            of such an image with grey and say nothing).
    """
    if encoded[-2:] != _JPEG_END and encoded[:2] == _JPEG_START and _JPEG_END not in bytes(encoded):
        raise FacekdError(f"a JPEG of {len(encoded)} bytes is cut short: it has no end marker.")
    try:
        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise FacekdError(f"{len(encoded)} bytes do not decode as an image.") from error
    if image is None:
        raise FacekdError(f"{len(encoded)} bytes do not decode as an image.")
    return image.astype(np.uint8, copy=False)


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
