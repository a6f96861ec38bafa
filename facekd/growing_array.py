"""A large file of embeddings that is filled block by block and survives interruptions.

Its room on the disk is taken before the start, its progress is kept beside it, and it appears
under its own name when it is whole. Several processes may fill one file, a share of the rows each.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import DTypeLike, NDArray

from facekd.errors import FacekdError
from facekd.files import write_text
from facekd.locks import locked
from facekd.npy_file import map_npy

Array = NDArray[Any]


class GrowingArray:
    """A `.npy` file in the making.

    One process calls `create`, every process `fill` from row `first_row`, and one `finish`.

    Args:
        path: Where it will stand; until then it is `NAME.part.npy`.
        shape: Of the whole array; the first axis is filled from its start.
        dtype: Of the array.
        share: The rows this process fills; None: all. An interrupted share goes on only where it
            has the same first and last row again; else its rows are made anew.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, share: range | None = None
    ) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self.share = range(shape[0]) if share is None else share
        whole = self.share == range(shape[0])
        rows = "" if whole else f".{self.share.start}-{self.share.stop}"
        self._part = path.with_suffix(".part.npy")
        self._progress = path.with_suffix(f".part{rows}.json")

    @property
    def nbytes(self) -> int:
        """Size of its numbers in bytes."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def create(self) -> None:
        """Take its room on the disk now; what an interrupted run has saved is kept.

        Raises:
            FacekdError: There is not so much room, or the folder cannot be written to.
        """
        if self._all_progress():
            return
        try:
            open_memmap(self._part, mode="w+", dtype=self.dtype, shape=self.shape)
            with self._part.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, self._part.stat().st_size)
        except OSError as error:
            self._part.unlink(missing_ok=True)
            raise FacekdError(
                f"cannot write embeddings to {self._part}: {error.strerror or error}; they take "
                f"{self.nbytes:,} bytes: free space or choose another folder."
            ) from error

    def first_row(self) -> int:
        """The row of its share to go on from.

        Raises:
            FacekdError: The part that is there is not what was created.
        """
        map_array(self._part, self.shape, self.dtype, self._progress)
        if not self._progress.exists():
            return self.share.start
        return int(json.loads(self._progress.read_text())["done"])

    def fill(self, blocks: Iterable[tuple[int, Array]], save_every: int) -> None:
        """Write consecutive blocks, the first at `first_row`, and keep the progress.

        Args:
            blocks: First row of each block, and its rows.
            save_every: Blocks after which an interruption costs nothing.
        """
        row_bytes = self.nbytes // self.shape[0]
        start = map_array(self._part, self.shape, self.dtype, self._progress).offset
        for number, (row, block) in enumerate(blocks, 1):
            try:  # written, not mapped: two machines' mapped pages would overwrite each other
                with self._part.open("r+b") as file:
                    file.seek(start + row * row_bytes)
                    file.write(np.ascontiguousarray(block, dtype=self.dtype).data)
            except OSError as error:
                raise FacekdError(
                    f"cannot write embeddings to {self._part}: {error.strerror or error}."
                ) from error
            if number % save_every == 0:
                self._save(row + len(block))
        self._save(self.share.stop)

    def finish(self) -> None:
        """Give the file its name, when every share is full."""
        self._part.replace(self.path)
        for progress in self._all_progress():
            progress.unlink()

    def _save(self, done: int) -> None:
        with self._part.open("r+b") as file:
            os.fsync(file.fileno())
        write_text(self._progress, json.dumps({"done": done}))

    def _all_progress(self) -> list[Path]:
        """The progress of every share there is, also of other cuts into shares."""
        names = self.path.parent.glob("*.part*.json")
        return [p for p in names if p.name.startswith(f"{self.path.stem}.part.")]


def map_array(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, beside: Path | None = None
) -> Any:
    """Map an array that should have this shape into memory, for reading.

    Args:
        path: The file.
        shape: What it should have.
        dtype: What it should be of.
        beside: A file that must be deleted with it.

    Raises:
        FacekdError: It is damaged, or another array.
    """
    expected = f"{np.dtype(dtype)} {shape}"
    try:
        array = map_npy(path)
        found = f"{array.dtype} {array.shape}"
    except (OSError, ValueError) as error:
        found = str(error)
    if found != expected:
        also = f" (and {beside})" if beside else ""
        raise FacekdError(
            f"{path} is not the cache it should be (found {found}, expected {expected}); "
            f"delete it{also}, and it will be computed again."
        )
    return array


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Only one process of the machine at a time computes a file; the others wait and read it.

    Raises:
        FacekdError: The folder cannot be written to.
    """
    told = f"another process is computing embeddings in {path.parent}; waiting"
    with locked(path.with_suffix(".lock"), waiting=told):
        yield
