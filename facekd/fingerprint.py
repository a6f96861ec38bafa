"""Short hashes by which files, data and settings recognise each other."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from facekd.input_file import check_input


def fingerprint(parts: Iterable[str | bytes | memoryview]) -> str:
    """First 16 hex digits of the sha256 of the parts, each ended by a newline."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
        digest.update(b"\n")
    return digest.hexdigest()[:16]


def file_fingerprint(path: Path) -> str:
    """First 16 hex digits of a file's sha256.

    Raises:
        OSError: It cannot be read.
        FacekdError: It is a pipe or a device.
    """
    check_input(path)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]
