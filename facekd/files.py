"""Writing files so that they appear whole or not at all."""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from facekd.errors import FacekdError


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Give a temporary file's path to write to; on success it replaces `path` in one step.

    The data and the folder entry are flushed to the disk before and after the rename. When the
    block raises, the temporary file is removed and whatever stood at `path` before still does.

    Raises:
        FacekdError: The disk is full, or the folder cannot be written to.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        os.close(handle)
    except OSError as error:
        raise FacekdError(f"cannot write {path}: {error.strerror or error}.") from error
    temporary = Path(name)
    try:
        yield temporary
        flush(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
        flush(path.parent)
    except OSError as error:
        raise FacekdError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder. "
            "What stood there before is untouched."
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path, start: str = "") -> None:
    """Remove the temporary files that `atomic_path` left in a folder when its process was killed.

    Only for who knows that nobody writes those files now, because he holds a lock on them.

    Args:
        folder: The folder; what is below it stays.
        start: Only those of files whose names begin so.
    """
    left = re.compile(rf"\.{re.escape(start)}.+\.[a-z0-9_]{{8}}")
    for path in [*folder.iterdir()] if folder.is_dir() else []:
        if left.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def in_the_way(folder: str | Path) -> Path | None:
    """What keeps a folder from being made and written into, at a first look; None if nothing."""
    folder = Path(folder)
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    return None if there.is_dir() and os.access(there, os.W_OK | os.X_OK) else there


def flush(path: Path) -> None:
    """Have the disk keep a file, or the entries of a folder, before going on."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def in_bytes(size: int) -> str:
    """A number of bytes as people read it: `10.6 GiB`."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
