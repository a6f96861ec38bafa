"""A look at a file that a user names, before it is opened: none may block, none is endless."""

import errno
import os
import stat
from pathlib import Path

from facekd.errors import FacekdError

MAX_LIST = 8 << 30
"""Bytes of a `.lst` or `.idx`: those of 42 million images have 3 GB and 1 GB."""
MAX_TABLE = 2 << 30
"""Bytes of a CSV, a pair list or a table of IJB's: 15.6 million pairs have 0.2 GB."""
MAX_JSON = 256 << 20
"""Bytes of a JSON file: the names of a million identities have 0.03 GB."""
MAX_RECIPE = 1 << 20
"""Bytes of a recipe; YAML takes some 10 µs a byte."""

_KINDS = (
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a disk"),
)


def check_input(path: str | Path, most: int | None = None) -> None:
    """Make sure that a file can be opened without waiting, and read whole without filling memory.

    Args:
        path: The file.
        most: How many bytes it may have, where it is read whole; None where it is mapped or read
            in parts.

    Raises:
        OSError: There is no such file, or it is a folder; as opening it would.
        FacekdError: It is a pipe, a socket or a device, or too large.
    """
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        kind = next((words for test, words in _KINDS if test(status.st_mode)), "no plain file")
        raise FacekdError(f"{path} is {kind}; write what it gives to a file, and give that.")
    if most is not None and status.st_size > most:
        raise FacekdError(
            f"{path} has {status.st_size:,} bytes; such files are read whole and may have "
            f"{most:,}, so give the right file, or a part of this one."
        )
