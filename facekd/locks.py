"""Locks by which processes of one machine keep out of each other's way.

A lock is free again however its process ends. Where a file system has no locks, everybody is given
them: work goes on there, unguarded.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facekd.errors import FacekdError

_NO_LOCKS = (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP)  # what file systems without them say


def lock(handle: int, *, wait: bool = False) -> bool:
    """Lock an open file or folder until it is closed; whether this process has the lock.

    Processes that this one starts do not inherit the lock of a file.

    Args:
        handle: Of a file, open for writing, or of a folder.
        wait: Wait while another process has it.

    Raises:
        OSError: It cannot be locked.
    """
    folder = stat.S_ISDIR(os.fstat(handle).st_mode)
    take = fcntl.flock if folder else fcntl.lockf  # the second wants a file to write to
    try:
        take(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


@contextmanager
def locked(path: str | Path, waiting: str = "") -> Iterator[bool]:
    """Hold a lock file's lock while the block runs; whether this process has it.

    Args:
        path: The lock file; it is made, and stays.
        waiting: What to print when another process has the lock, before waiting for it; if empty,
            the block runs without it.

    Raises:
        FacekdError: The file cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    except OSError as error:
        reason = error.strerror or error
        raise FacekdError(
            f"cannot write {path.name} to the folder {path.parent}: {reason}."
        ) from error
    with file:
        try:
            mine = lock(file.fileno())
            if waiting and not mine:
                print(waiting)
                mine = lock(file.fileno(), wait=True)
        except OSError as error:
            raise FacekdError(f"cannot lock {path}: {error.strerror or error}.") from error
        yield mine


@contextmanager
def held(path: str | Path, otherwise: str) -> Iterator[None]:
    """As `locked`, and an error where another process has the lock.

    Args:
        path: The lock file.
        otherwise: What the error says.

    Raises:
        FacekdError: It is held elsewhere, or cannot be written.
    """
    with locked(path) as mine:
        if not mine:
            raise FacekdError(otherwise)
        yield
