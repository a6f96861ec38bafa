"""WebDataset tar shards, image after image."""

import json
import tarfile
from pathlib import Path
from typing import IO

from .images import Encoded
from .items import Item, image_suffix

_BLOCK = tarfile.BLOCKSIZE
_BUFFER = 1 << 20
_EMPTY = tarfile.TarInfo("").tobuf(tarfile.USTAR_FORMAT)
_EMPTY_SUM = int(_EMPTY[148:154], 8) - 11 * ord("0")  # without name and size


class TarWriter:
    """Write samples `key.jpg`, `key.cls`, `key.json` to 000000.tar and so on.

    Args:
        root: The folder.
        shard_bytes: A new shard begins before this size is passed; None: never.
        shard_images: A new shard begins after so many images; None: never.
    """

    def __init__(self, root: Path, shard_bytes: int | None, shard_images: int | None) -> None:
        self._root, self._max_bytes, self._max_images = root, shard_bytes, shard_images
        self._shards = self._images = self._bytes = 0
        self._file: IO[bytes] | None = None

    def __enter__(self) -> "TarWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._end_shard()

    @staticmethod
    def form(item: Item, place: str, key: int) -> bytes:
        """One sample: its members as they stand in a tar."""
        told = {"identity": item.identity, "name": item.name, "label": item.label, "record": key}
        if item.vector is not None:
            told["labels"] = item.vector.tolist()
        text = json.dumps(told, ensure_ascii=False).encode()
        stem = b"%09d" % key
        return b"".join(
            (
                *_member(stem + image_suffix(item.encoded).encode(), item.encoded),
                *_member(stem + b".cls", b"%d" % item.label),
                *_member(stem + b".json", text),
            )
        )

    def append(self, sample: bytes) -> None:
        """Append one sample as `form` makes it, in a new shard where the last one is full."""
        self._shard_for(len(sample)).write(sample)

    def _shard_for(self, size: int) -> IO[bytes]:
        """The shard that takes a sample of so many bytes."""
        full = (self._max_bytes is not None and self._bytes + size > self._max_bytes) or (
            self._max_images is not None and self._images >= self._max_images
        )
        if self._file is not None and full:
            self._end_shard()
        if self._file is None:
            name = f"{self._shards:06d}.tar"
            self._file = (self._root / name).open("wb", buffering=_BUFFER)
            self._shards, self._images, self._bytes = self._shards + 1, 0, 0
        self._images += 1
        self._bytes += size
        return self._file

    def _end_shard(self) -> None:
        if self._file is not None:
            with self._file as file:
                file.write(bytes(2 * _BLOCK))
            self._file = None


def _member(name: bytes, data: Encoded) -> tuple[bytes, Encoded, bytes]:
    """A plain file in a tar: header, bytes, zeros up to the next block.

    The header is that of `tarfile` with the three fields put in which differ: 0 name, 124 size,
    148 the sum of all bytes, this field counted as blanks.
    """
    size = b"%011o" % len(data)
    total = b"%06o" % (_EMPTY_SUM + sum(name) + sum(size))
    header = b"".join(
        (name.ljust(100, b"\0"), _EMPTY[100:124], size, _EMPTY[135:148], total, _EMPTY[154:])
    )
    return header, data, bytes(-len(data) % _BLOCK)
