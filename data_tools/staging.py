"""A hidden folder beside the destination, in which an output grows until it is whole."""

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..errors import FacekdError
from ..files import in_the_way
from ..locks import lock


@contextmanager
def staging(path: Path) -> Iterator[Path]:
    """Give an empty hidden folder beside `path`; it is gone afterwards, whatever happened.

    What an interrupted run left there is removed first. Two runs for the same `path` at a time are
    refused.

    Raises:
        FacekdError: The disk is full, or the place cannot be written to.
    """
    path = Path(os.path.abspath(path))
    folder = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise FacekdError(f"cannot write {path}: {error.strerror or error}.") from error
    mine = False
    try:
        if not lock(handle):
            raise FacekdError(f"another run is writing {path}; wait for it.")
        mine = True
        _clear(folder)
        yield folder
    except OSError as error:
        raise FacekdError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another folder. "
            "What stood there before is untouched."
        ) from error
    finally:
        if mine and folder.exists() and os.path.samestat(folder.stat(), os.fstat(handle)):
            shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def check_place(path: Path) -> None:
    """Make sure, before the work, that a folder or file can be written beside or at `path`.

    Raises:
        FacekdError: What should be its folder, or one above it, is none or may not be written to.
    """
    if (fault := in_the_way(path.parent)) is not None:
        raise FacekdError(
            f"cannot write {path}: {fault} is no folder that can be written to; give another place."
        )


def publish_folder(stage: Path, path: Path) -> None:
    """Let a finished staging folder become `path`, in place of what stands there."""
    os.sync()
    path = Path(os.path.abspath(path))
    if not path.exists():
        stage.rename(path)
        return
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    path.rename(old)
    stage.rename(path)
    shutil.rmtree(old)


def publish_files(stage: Path, folder: Path, names: Sequence[str]) -> None:
    """Move finished files from the staging folder to their place; the last one makes them a set.

    Args:
        stage: Where they are.
        folder: Where they go.
        names: The files; the last is removed there first and moved last, so that at no moment an
            old one stands with new companions.
    """
    for name in names:
        with (stage / name).open("rb") as file:
            os.fsync(file.fileno())
    for name in names[-1:]:
        (folder / name).unlink(missing_ok=True)
    for name in names:
        (stage / name).replace(folder / name)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _clear(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
