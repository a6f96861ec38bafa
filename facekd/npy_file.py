"""Arrays in `.npy` and `.npz` files, of which none is trusted."""

import lzma
import os
import zipfile
import zlib
from math import prod
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from .input_file import check_input

_FREE = 1 << 28  # bytes that a compressed archive may unpack to, however small it is
_DAMAGE = (
    *(TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError),
    *(SyntaxError, TokenError, OverflowError, MemoryError, RuntimeError),
)
"""What numpy and zipfile raise over a damaged archive, besides ValueError."""


def map_npy(path: str | Path) -> Any:
    """`numpy.load`, mapped into memory and without pickle, with one kind of error for damage.

    Returns:
        The array, read-only; or numpy's archive object where the file is an `.npz`.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file, or a damaged one.
        FacekdError: It is a pipe or a device.
    """
    check_input(path)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (EOFError, SyntaxError, TokenError, OverflowError, MemoryError, RuntimeError) as error:
        # a damaged header goes through Python's own tokenizer and parser
        raise ValueError(f"damaged header ({error})") from error


def read_npz(path: str | Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz`, after a look at what they would take in memory.

    They may take as many bytes as the file has, which is what `numpy.savez` writes, or 256 MiB
    where they are compressed: a megabyte of an archive can unpack to any size.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is no such file, a damaged one, or its arrays take more than that.
        FacekdError: It is a pipe or a device.
    """
    check_input(path)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            most = max(os.stat(path).st_size, _FREE)
            if size > most:
                raise ValueError(
                    f"its arrays take {size:,} bytes, more than the {most:,} allowed; write it "
                    "with numpy.savez, uncompressed"
                )
            for member in members:
                with archive.open(member) as file:
                    _check_header(file, member)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except _DAMAGE as error:
        raise ValueError(f"damaged archive ({error})") from error


def _check_header(file: IO[bytes], member: zipfile.ZipInfo) -> None:
    """Make sure that an array is as large as its header says: numpy believes the header."""
    version = npy_format.read_magic(file)
    read = {(1, 0): npy_format.read_array_header_1_0, (2, 0): npy_format.read_array_header_2_0}
    if version not in read:
        raise ValueError(f"{member.filename} is of the .npy format {version}")
    shape, _, dtype = read[version](file)
    announced = prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or announced != member.file_size - file.tell():
        raise ValueError(
            f"{member.filename} announces {announced:,} bytes and holds "
            f"{member.file_size - file.tell():,}"
        )
