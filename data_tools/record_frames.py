"""How a record lies in a `.rec` file.

It is one part, or several where its payload contains the magic word at a multiple of four::

    part     magic (u32 0xced7230a) | cflag (3 bits) and length (29 bits) | bytes | zeros up to 4
    cflag    0 whole, 1 first, 2 middle, 3 last; the magic word that stood between two parts is
             left out of the file and put back by the reader
"""

import struct
from collections.abc import Sequence

from ..errors import FacekdError

MAGIC = 0xCED7230A
LENGTH_BITS = 29
LENGTH_MASK = (1 << LENGTH_BITS) - 1

_MAGIC_BYTES = struct.pack("<I", MAGIC)
_FRAME = struct.Struct("<II")

Payload = bytes | memoryview


def record_payload(data: memoryview, at: int) -> Payload:
    """The bytes of the record that starts at byte `at`: a view, or bytes where parts were joined.

    Args:
        data: The whole file.
        at: Where.

    Raises:
        FacekdError: Past the end of the file, not aligned, no magic word, or a part that is cut
            short or out of order.
    """
    start, end, cflag = _part(data, at)
    return _join(data, start, end, cflag) if cflag else data[start:end]


def record_end(data: memoryview, at: int) -> int:
    """The byte behind the record that starts at byte `at`: behind all its parts and padding.

    Raises:
        FacekdError: No whole record starts there.
    """
    _, end, cflag = _part(data, at)
    if cflag > 1:
        raise FacekdError(f"a part of kind {cflag} stands out of order at byte {at}.")
    while cflag in (1, 2):
        at = end + (-end & 3)
        if at == len(data):
            raise FacekdError("its last part is missing: the file was cut short; copy it again.")
        _, end, cflag = _part(data, at)
        if cflag not in (2, 3):
            raise FacekdError(f"a part of kind {cflag} stands out of order at byte {at}.")
    return end + (-end & 3)


def frame(key: int, payload: bytes) -> bytes:
    """A record as it stands in a file: its parts, each behind its frame, and zeros up to 4.

    Raises:
        FacekdError: The payload is too long.
    """
    if len(payload) > LENGTH_MASK:
        raise FacekdError(f"record {key} has {len(payload)} bytes; RecordIO ends at 2**29 - 1.")
    parts = _split(payload)
    pieces = []
    for n, part in enumerate(parts):
        cflag = 0 if len(parts) == 1 else 1 if n == 0 else 3 if n == len(parts) - 1 else 2
        pieces += [_FRAME.pack(MAGIC, cflag << LENGTH_BITS | len(part)), part]
    return b"".join([*pieces, bytes(-len(parts[-1]) & 3)])


def _split(payload: bytes) -> Sequence[bytes]:
    """Cut a payload at each magic word that starts at a multiple of four, leaving the word out."""
    parts = []
    start, found = 0, payload.find(_MAGIC_BYTES)
    while found >= 0:
        if found % 4 == 0:
            parts.append(payload[start:found])
            start = found + 4
        found = payload.find(_MAGIC_BYTES, start if found % 4 == 0 else found + 1)
    return [*parts, payload[start:]]


def _part(data: memoryview, at: int) -> tuple[int, int, int]:
    """The part at byte `at`: start and end of its bytes, and its cflag."""
    start = at + 8
    if start > len(data):
        raise FacekdError(
            f"byte {at} lies past the end of the file ({len(data)} bytes): the file is cut short "
            "or the index belongs to another one; copy both again."
        )
    magic, word = _FRAME.unpack_from(data, at)
    if magic != MAGIC or at & 3:
        raise FacekdError(
            f"no record starts at byte {at} (found {magic:#010x} instead of {MAGIC:#010x}): "
            "the file is damaged or the index belongs to another one."
        )
    end = start + (word & LENGTH_MASK)
    if end > len(data):
        raise FacekdError(
            f"the record reaches to byte {end}, the file only to {len(data)}: "
            "it was cut short; copy it again."
        )
    return start, end, word >> LENGTH_BITS


def _join(data: memoryview, start: int, end: int, cflag: int) -> bytes:
    """Join the parts of a record whose first part is given, the magic word between them."""
    if cflag != 1:
        raise FacekdError(f"it begins with a part of kind {cflag}, the middle of a record.")
    parts = [bytes(data[start:end])]
    while cflag != 3:
        start, end, cflag = _part(data, end + (-end & 3))
        if cflag not in (2, 3):
            raise FacekdError(f"a part of kind {cflag} follows at byte {start - 8}, not 2 or 3.")
        parts.append(bytes(data[start:end]))
    return _MAGIC_BYTES.join(parts)
