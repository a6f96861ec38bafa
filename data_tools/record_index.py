"""The text index of a `.rec` file: `.idx`, lines of key, tab, byte offset."""

import re
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import FacekdError
from ..input_file import MAX_LIST, check_input
from .columns import Column, Int64s

_BLOCK = 1 << 20
_LONGEST = 64  # bytes of a line; two numbers have 40


def read_index(path: Path) -> tuple[Int64s, Int64s]:
    """Read a `.idx` file, a block of lines at a time.

    Returns:
        keys and offsets, int64 (n,), in the file's order.

    Raises:
        FacekdError: A line is not of that form, or there is none.
    """
    keys, offsets = Column(), Column()
    try:
        check_input(path, MAX_LIST)
        with path.open("rb") as file:
            while text := _lines(file):
                numbers = _parse(text)
                if numbers is None:
                    raise FacekdError(_bad_line(path, text, len(keys)))
                keys.extend(numbers[0::2])
                offsets.extend(numbers[1::2])
    except OSError as error:
        raise FacekdError(f"cannot read {path}: {error.strerror or error}.") from error
    if not len(keys):
        raise FacekdError(_bad_line(path, b"\n", 0))
    return keys.numbers, offsets.numbers


def _lines(file: IO[bytes]) -> bytes:
    """The next whole lines, each ended by a line feed; none at the end."""
    text = file.read(_BLOCK)
    text += file.readline(_LONGEST)
    text = text.replace(b"\r\n", b"\n")
    return text if not text or text.endswith(b"\n") else text + b"\n"


def _parse(text: bytes) -> Int64s | None:
    """Keys and offsets by turns; None where a line does not hold just these."""
    shape = text.translate(None, b"0123456789")
    if shape != b"\t\n" * (len(shape) // 2):
        return None
    numbers = np.fromstring(text.decode("ascii"), dtype=np.int64, sep=" ")
    return numbers if len(numbers) == len(shape) else None


def _bad_line(path: Path, text: bytes, before: int) -> str:
    lines = text.split(b"\n")
    bad = next((n for n, line in enumerate(lines) if not re.fullmatch(rb"\d+\t\d+", line)), 0)
    return (
        f"{path} line {before + bad + 1} is not 'key<tab>offset' ({lines[bad][:40]!r}): delete the "
        "file and the index is rebuilt from the .rec."
    )
