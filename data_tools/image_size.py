"""The size an encoded image says it has, read before anything is allocated for it."""

import re
import struct
from collections.abc import Iterator

from ..errors import FacekdError

MAX_PIXELS = 1 << 26  # 67 million: an image of 8192 x 8192, 200 MB when decoded
_SCAN_PIXELS = 1 << 30  # scans times pixels; ten scans of the largest image are below it

JPEG_START = b"\xff\xd8"
_PNG_START = b"\x89PNG\r\n\x1a\n"
_PNM = re.compile(rb"P[1-6]\s+(\d{1,9})\s+(\d{1,9})\s")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")  # those that stand alone left out
_MOST_SEGMENTS = 4096
_HEIGHT_WIDTH = struct.Struct(">HH").unpack
_USUAL_JPEG = re.compile(  # JFIF, the quantisation tables, the frame: what most programs write
    rb"\xff\xd8\xff\xe0\0\x10.{14}(?:\xff\xdb\0\x43.{65}){1,2}\xff\xc0\0[\x0b\x11]\x08(.{4})",
    re.DOTALL,
)
_SCAN, _END = 0xDA, 0xD9
_SCAN_MARKER = b"\xff\xda"
_HEAD = 64  # more than the headers of PNG, BMP and WebP have


def check_size(encoded: bytes | bytearray | memoryview) -> None:
    """Refuse an image that is empty, larger than 64 megapixels, or a bomb of many scans.

    Args:
        encoded: The file's bytes: JPEG, PNG, BMP, WebP or PNM.

    Raises:
        FacekdError: So it is; or its size cannot be read, or it is of another kind.
    """
    usual = _USUAL_JPEG.match(encoded)
    height, width = _HEIGHT_WIDTH(usual[1]) if usual else encoded_size(encoded)
    if not height or not width:
        raise FacekdError(f"the image is empty: it says that it is {width} x {height} pixels.")
    if height * width > MAX_PIXELS:
        raise FacekdError(
            f"the image says that it is {width} x {height} pixels, more than the {MAX_PIXELS} that "
            "are decoded: shrink it, or take it out if it is no photograph."
        )
    if height * width * len(encoded) > 8 * _SCAN_PIXELS and encoded[:2] == JPEG_START:
        scans = bytes(encoded).count(_SCAN_MARKER)
        if height * width * scans > _SCAN_PIXELS:
            raise FacekdError(
                f"the JPEG has {scans} scans of {width} x {height} pixels, which would take very "
                "long to decode: take it out or save it again."
            )


def encoded_size(encoded: bytes | bytearray | memoryview) -> tuple[int, int]:
    """Height and width as the header says.

    Raises:
        FacekdError: It says nothing of the kind, or is not JPEG, PNG, BMP, WebP or PNM.
    """
    if encoded[:2] == JPEG_START:
        return _jpeg_size(encoded)
    head = bytes(encoded[:_HEAD])
    try:
        if head[:8] == _PNG_START and head[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", head, 16)
            return height, width
        if head[:2] == b"BM":
            return _bmp_size(head)
        if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
            return _webp_size(head)
        if found := _PNM.match(head):
            return int(found[2]), int(found[1])
    except struct.error:
        pass
    raise FacekdError(
        f"{len(encoded)} bytes do not decode as an image: no JPEG, PNG, BMP, WebP or PNM begins so."
    )


def jpeg_segments(encoded: bytes | bytearray | memoryview) -> Iterator[tuple[int, int, int]]:
    """The markers of a JPEG before its first scan: marker, and where its content starts and ends.

    What stands between segments is passed over as libjpeg does it.

    Raises:
        FacekdError: It ends before the first scan, or a segment's length is impossible.
    """
    at, size = 2, len(encoded)
    for _ in range(_MOST_SEGMENTS):
        found = _MARKER.search(encoded, at)
        if not found or found.end() + 2 > size:
            raise FacekdError(f"{size} bytes do not decode: the JPEG ends before its first scan.")
        at = found.end()
        marker = encoded[at - 1]
        if marker in (_SCAN, _END):
            return
        length = encoded[at] << 8 | encoded[at + 1]
        if length < 2:
            raise FacekdError(
                f"{size} bytes do not decode: the JPEG has an impossible length at its byte {at}."
            )
        yield marker, at + 2, min(at + length, size)
        at += length
    raise FacekdError(f"{size} bytes do not decode: a JPEG of over {_MOST_SEGMENTS} segments.")


def _jpeg_size(encoded: bytes | bytearray | memoryview) -> tuple[int, int]:
    for marker, start, end in jpeg_segments(encoded):
        if marker in _FRAMES and end - start >= 5:
            height, width = struct.unpack_from(">HH", encoded, start + 1)
            return height, width
    raise FacekdError(f"{len(encoded)} bytes do not decode: a JPEG without a size before its scan.")


def _bmp_size(head: bytes) -> tuple[int, int]:
    (header,) = struct.unpack_from("<I", head, 14)
    width, height = struct.unpack_from("<HH" if header == 12 else "<ii", head, 18)
    return abs(height), abs(width)


def _webp_size(head: bytes) -> tuple[int, int]:
    if head[12:16] == b"VP8X":
        sizes = (int.from_bytes(head[at : at + 3], "little") + 1 for at in (27, 24))
        height, width = sizes
    elif head[12:16] == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 21)
        height, width = (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    else:
        width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", head, 26))
    return height, width
