"""What a run's row says of one set that it was judged on."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Judged:
    """A finished run's numbers on one set.

    Attributes:
        columns: Of its row, without the set's name before them.
        told: What matters most, in words.
    """

    columns: dict[str, str]
    told: str


def written(values: Mapping[str, float | None]) -> dict[str, str]:
    """Numbers as the table has them; nothing where there is none."""
    return {key: "" if value is None else f"{value:.6f}" for key, value in values.items()}


def pack(correct: NDArray[np.bool_]) -> str:
    """Bits as text: their number, a colon, base64 of eight a byte (the first is the highest)."""
    return f"{len(correct)}:{base64.b64encode(np.packbits(correct).tobytes()).decode('ascii')}"


def unpack(text: str) -> NDArray[np.bool_]:
    """What `pack` was given.

    Raises:
        ValueError: It is no such text.
    """
    count, _, packed = text.partition(":")
    data = np.frombuffer(base64.b64decode(packed, validate=True), dtype=np.uint8)
    if len(data) != -(-int(count) // 8):
        raise ValueError(f"{8 * len(data)} bits for {count} pairs")
    return np.unpackbits(data, count=int(count)).astype(np.bool_)
