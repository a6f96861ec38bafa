"""Labelled sets, written whole or not at all: `.rec`, image folders, tar shards."""

import shutil
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self

from ..errors import FacekdError
from .folder_writer import FolderWriter
from .forming import Form, form_all
from .items import Item as Item
from .items import Items as Items
from .lst import FOLDER_LIST
from .rec_writer import Layout, RecWriter
from .staging import check_place, publish_files, publish_folder, staging
from .tar_shards import find_shards
from .tar_writer import TarWriter

SetKind = Literal["rec", "folder", "tar"]
SHARD_BYTES = 1 << 30
Watch = Callable[[Iterable[Any]], Iterable[Any]]


class Writer(Protocol):
    """Writes one set into a staging folder."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None: ...

    @property
    def form(self) -> Form:
        """Makes of an image what is appended; in any process."""
        ...

    def append(self, formed: Any, /) -> None:
        """Append one image as `form` makes it."""
        ...


def kind_of(path: Path) -> SetKind:
    """What a destination's name asks for.

    Raises:
        FacekdError: Its suffix is none of ours.
    """
    if path.suffix == ".rec":
        return "rec"
    if path.suffix == ".tar":
        return "tar"
    if path.suffix and not path.is_dir():
        raise FacekdError(
            f"{path}: the suffix {path.suffix!r} stands for no kind of set; give a .rec or .tar "
            "file or a folder, or say which with --to rec, folder or tar."
        )
    return "folder"


def write_set(
    items: Iterable[Item],
    path: str | Path,
    kind: SetKind | None = None,
    *,
    force: bool = False,
    layout: Layout = "face2rec",
    shard_bytes: int = SHARD_BYTES,
    shard_images: int | None = None,
    workers: int = 1,
    watch: Watch = lambda pieces: pieces,
) -> int:
    """Write a labelled set; it appears when it is whole, or not at all.

    `.rec` comes with `.idx`, `.lst` and insightface's `property` (where none stands there for
    another file); a folder with `images.lst`. A `.tar` is one shard, a folder of kind "tar" holds
    as many as needed: 000000.tar and so on.

    Args:
        items: The images, in the order of the file; read once. Record numbers are counted from 1
            (im2rec: from 0) unless the items bring their own.
        path: The `.rec`, the `.tar` or the folder.
        kind: What to write; by the path's suffix when None.
        force: Replace a set that stands there. A folder with anything else in it is never removed.
        layout: Of a `.rec`: face2rec numbers its images 1..n and has each identity's stand
            together, by record number.
        shard_bytes: A new shard begins before this size is passed.
        shard_images: A new shard begins after so many images.
        workers: Processes that read images and make records, samples or files of them, where items
            are `Items`; what is written does not depend on it.
        watch: Wraps what is written, one piece an image: for a progress bar.

    Returns:
        How many images were written.

    Raises:
        FacekdError: Something stands there, the disk is full, there are no images, or one cannot
            be written: its name is no safe path, its number occurs twice; or a process died.
    """
    path = Path(path)
    kind = kind or kind_of(path)
    check_destination(path, kind, force)
    with staging(path) as stage:
        with ExitStack() as stack:
            writer: Writer
            if kind == "rec":
                writer = stack.enter_context(RecWriter(stage / path.name, layout))
            elif kind == "folder":
                writer = stack.enter_context(FolderWriter(stage))
            else:
                one = path.suffix == ".tar"
                limit = None if one else shard_bytes
                writer = stack.enter_context(TarWriter(stage, limit, None if one else shard_images))
            pieces = form_all(items, writer.form, int(layout == "face2rec"), workers)
            count = 0
            with closing(pieces):  # before the staging folder goes: others may write to it
                for piece in watch(pieces):
                    writer.append(piece)
                    count += 1
            if not count:
                raise FacekdError(f"there is no image to write to {path}.")
        _publish(stage, path, kind)
    return count


def check_destination(path: Path, kind: SetKind | Literal["bin"], force: bool) -> None:
    """Check that nothing stands in the way of an output, and that its folder can be written.

    Raises:
        FacekdError: Something does, and `force` is not given or would remove what is no set; or
            the folder cannot be written.
    """
    check_place(path)
    if kind in ("rec", "bin") and path.suffix != f".{kind}":
        raise FacekdError(f"{path} does not end in .{kind}; give such a name.")
    if path.is_dir() and not path.is_symlink():
        if kind in ("rec", "bin") or path.suffix == ".tar":
            raise FacekdError(f"{path} is a folder; give the name of a .{kind} file.")
        names = {entry.name for entry in path.iterdir()}
        if names and not force:
            raise FacekdError(f"{path} exists and is not empty; give another name, or --force.")
        made = names & {FOLDER_LIST, "pairs.csv"} or len(find_shards(path)) == len(names)
        if names and not made:
            raise FacekdError(
                f"{path} was not written by facekd (it has no {FOLDER_LIST}) and is not replaced; "
                "remove it yourself, or give another name."
            )
        return
    beside = [path.with_suffix(s) for s in (".idx", ".lst")] if kind == "rec" else []
    there = [one for one in (path, *beside) if one.exists() or one.is_symlink()]
    if there and not force:
        raise FacekdError(f"{there[0]} exists; give another name, or --force to overwrite it.")
    if there and kind in ("folder", "tar") and path.suffix != ".tar":
        raise FacekdError(f"{path} is a file; give a folder's name.")


def _publish(stage: Path, path: Path, kind: SetKind) -> None:
    if kind == "rec":
        names = [path.with_suffix(".lst").name, path.with_suffix(".idx").name, path.name]
        others = [one for one in path.parent.glob("*.rec") if one.name != path.name]
        if (stage / "property").exists() and not (others and (path.parent / "property").exists()):
            names.insert(0, "property")
        publish_files(stage, path.parent, names)
    elif path.suffix == ".tar":
        shutil.move(stage / "000000.tar", stage / path.name)
        publish_files(stage, path.parent, [path.name])
    else:
        publish_folder(stage, path)
