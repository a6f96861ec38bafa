"""What a JPEG says of itself before it is decoded: size, components, quality.

The IJG's software (libjpeg and its kin, cv2 among them) makes its quantisation tables from those
in ITU-T T.81, annex K.1, by a quality q from 1 to 100: each entry becomes
`clip((base * s + 50) // 100, 1, 255)` with `s = 5000 // q` for q < 50, else `200 - 2 q`. Only
tables made so have a quality in that sense; cameras and other programs use tables of their own.
"""

import struct
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np

from ..errors import FacekdError
from .image_size import JPEG_START, jpeg_segments
from .images import Encoded

_BASES = (
    "16 11 10 16 24 40 51 61 12 12 14 19 26 58 60 55 14 13 16 24 40 57 69 56 14 17 22 29 51 87 80 "
    "62 18 22 37 56 68 109 103 77 24 35 55 64 81 104 113 92 49 64 78 87 103 121 120 101 72 92 95 "
    "98 112 100 103 99",
    "17 18 24 47 99 99 99 99 18 21 26 66 99 99 99 99 24 26 56 99 99 99 99 99 47 66 99 99 99 99 99 "
    + " ".join(["99"] * 33),
)  # row by row
_TABLES, _ADOBE = 0xDB, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_GREY, _YCBCR, _RGB = "JPEG grey", "JPEG YCbCr", "JPEG RGB"


@dataclass(frozen=True)
class JpegHeader:
    """What stands before the first scan.

    Attributes:
        height: Pixels.
        width: Pixels.
        colours: "JPEG grey", "JPEG YCbCr", "JPEG RGB", or "JPEG of n components".
        quality: 1..100 where the tables are the IJG's at that quality, else None.
    """

    height: int
    width: int
    colours: str
    quality: int | None


class _Component(NamedTuple):
    identifier: int
    table: int


def read_jpeg_header(encoded: Encoded) -> JpegHeader:
    """Read a JPEG's markers up to its first scan; nothing is decoded.

    Raises:
        FacekdError: These bytes are no JPEG, or it ends or goes astray before the first scan.
    """
    if encoded[:2] != JPEG_START:
        raise FacekdError("these bytes do not begin as a JPEG does.")
    tables: dict[int, bytes] = {}
    frame: tuple[int, int, list[_Component]] | None = None
    adobe: int | None = None
    for marker, start, end in jpeg_segments(encoded):
        content = bytes(encoded[start:end])
        if marker == _TABLES:
            tables |= _read_tables(content)
        elif marker in _FRAMES:
            frame = _read_frame(content)
        elif marker == _ADOBE and content[:5] == b"Adobe" and len(content) >= 12:
            adobe = content[11]
    if frame is None:
        raise FacekdError("the JPEG has no frame header before its first scan.")
    height, width, components = frame
    used = [tables.get(component.table) for component in components]
    return JpegHeader(height, width, _colours(components, adobe), _quality(used))


def _read_tables(content: bytes) -> dict[int, bytes]:
    """Quantisation tables of eight bits by number, in zigzag order; others are passed over."""
    tables = {}
    at = 0
    while at < len(content):
        precision, number = content[at] >> 4, content[at] & 15
        size = 128 if precision else 64
        if not precision and at + 1 + size <= len(content):
            tables[number] = content[at + 1 : at + 1 + size]
        at += 1 + size
    return tables


def _read_frame(content: bytes) -> tuple[int, int, list[_Component]]:
    if len(content) < 6 or len(content) < 6 + 3 * content[5]:
        raise FacekdError("the JPEG's frame header is cut short.")
    height, width = struct.unpack_from(">HH", content, 1)
    parts = [content[6 + 3 * i : 9 + 3 * i] for i in range(content[5])]
    return height, width, [_Component(part[0], part[2]) for part in parts]


def _colours(components: list[_Component], adobe: int | None) -> str:
    if len(components) == 1:
        return _GREY
    if len(components) != 3:
        return f"JPEG of {len(components)} components"
    letters = bytes(component.identifier for component in components)
    return _RGB if adobe == 0 or (adobe is None and letters == b"RGB") else _YCBCR


def _quality(used: list[bytes | None]) -> int | None:
    """The quality whose tables these are: the first component's, and all the others'."""
    fitting = set(range(1, 101))
    for table, kind in zip(used, (0, 1, 1, 1), strict=False):
        fitting &= _qualities(kind).get(table or b"", set())
    return max(fitting, default=None) if used else None


@cache
def _qualities(kind: int) -> dict[bytes, set[int]]:
    """Table, in zigzag order -> the qualities that give it; of luminance (0), chrominance (1)."""
    base = np.array(_BASES[kind].split(), dtype=np.int64)[np.array(_zigzag())]
    found: dict[bytes, set[int]] = {}
    for quality in range(1, 101):
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        table = np.clip((base * scale + 50) // 100, 1, 255).astype(np.uint8)
        found.setdefault(table.tobytes(), set()).add(quality)
    return found


@cache
def _zigzag() -> tuple[int, ...]:
    """Place in the zigzag -> place row by row."""
    places = [(row, column) for row in range(8) for column in range(8)]
    places.sort(key=lambda p: (sum(p), p[0] if sum(p) % 2 else p[1]))
    return tuple(8 * row + column for row, column in places)
