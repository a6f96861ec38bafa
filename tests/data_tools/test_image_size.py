"""An image's size is known, and refused, before anything is allocated for it."""

import struct
import time

import cv2
import numpy as np
import pytest

from facekd.data_tools.image_size import MAX_PIXELS, encoded_size
from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.errors import FacekdError

IMAGE = np.zeros((30, 50, 3), np.uint8)
JPEG = encode_jpeg(IMAGE)
KINDS = {
    "jpeg": (".jpg", []),
    "progressive": (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
    "png": (".png", []),
    "bmp": (".bmp", []),
    "webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 80]),
    "lossless webp": (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
    "ppm": (".ppm", []),
}


def encoded(kind: str) -> bytes:
    suffix, settings = KINDS[kind]
    return cv2.imencode(suffix, IMAGE, settings)[1].tobytes()


def resized(kind: str, height: int, width: int) -> bytes:
    """The image's bytes with another size in the header."""
    data = bytearray(encoded(kind))
    if kind in ("jpeg", "progressive"):
        at = data.index(b"\xff\xc2" if kind == "progressive" else b"\xff\xc0") + 5
        struct.pack_into(">HH", data, at, height, width)
    elif kind == "png":
        struct.pack_into(">II", data, 16, width, height)
    elif kind == "bmp":
        struct.pack_into("<ii", data, 18, width, height)
    elif kind == "ppm":
        data = data.replace(b"50 30", b"%d %d" % (width, height))
    return bytes(data)


@pytest.mark.parametrize("kind", KINDS)
def test_size_of_every_kind(kind):
    assert encoded_size(encoded(kind)) == (30, 50)
    assert encoded_size(memoryview(encoded(kind))) == (30, 50)
    assert decode_rgb(encoded(kind)).shape == (30, 50, 3)


def test_size_of_an_extended_webp():
    body = encoded("webp")[12:]
    extended = b"VP8X" + struct.pack("<II", 10, 0) + b"\x31\0\0" + b"\x1d\0\0"
    whole = b"RIFF" + struct.pack("<I", 4 + len(extended) + len(body)) + b"WEBP" + extended + body
    assert encoded_size(whole) == (30, 50)
    assert decode_rgb(whole).shape == (30, 50, 3)


@pytest.mark.parametrize("kind", ["jpeg", "progressive", "png", "bmp", "ppm"])
def test_too_large_and_empty(kind):
    assert MAX_PIXELS < 16384 * 8192
    with pytest.raises(FacekdError, match="16384 x 8192 pixels, more than"):
        decode_rgb(resized(kind, 8192, 16384))
    with pytest.raises(FacekdError, match="empty"):
        decode_rgb(resized(kind, 0, 50))


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def test_a_small_frame_header_in_a_comment_does_not_hide_the_large_one():
    large = resized("jpeg", 60000, 60000)
    small_frame = JPEG[JPEG.index(b"\xff\xc0") :][:19]
    at = JPEG.index(b"\xff\xdb")
    for between in (segment(0xFE, small_frame), b"\0\0\xff\0\xff\xff", segment(0xE1, small_frame)):
        with pytest.raises(FacekdError, match="60000 x 60000"):
            decode_rgb(large[:at] + between + large[at:])
        assert decode_rgb(JPEG[:at] + between + JPEG[at:]).shape == (30, 50, 3)


@pytest.mark.parametrize(
    "filling",
    [b"\0" * (1 << 26), b"\xff" * (1 << 26), b"\xff\0" * (1 << 25), b"\xff\xfe\0\2" * (1 << 24)],
)
def test_a_long_way_to_the_frame_header_takes_no_time(filling):
    start = time.process_time()
    with pytest.raises(FacekdError, match="do not decode"):
        encoded_size(b"\xff\xd8" + filling)
    assert time.process_time() - start < 2


def test_a_progressive_bomb_of_many_scans():
    data = cv2.imencode(
        ".jpg", np.zeros((2048, 2048, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]
    )[1].tobytes()
    assert decode_rgb(data).shape == (2048, 2048, 3)
    scan = data[data.rindex(b"\xff\xda") : -2]
    with pytest.raises(FacekdError, match="scans of 2048 x 2048"):
        decode_rgb(data[:-2] + scan * 2000 + b"\xff\xd9")


@pytest.mark.parametrize("data", [b"GIF89a" + bytes(90), b"II*\0" + bytes(90), b"RIFF", b"BM\0"])
def test_kinds_that_are_not_decoded(data):
    with pytest.raises(FacekdError, match="do not decode"):
        decode_rgb(data)
