"""WebDataset tar shards, image after image."""

import json
import tarfile
from pathlib import Path
from typing import IO

from .images import Encoded
from .items import Item, image_suffix

_BLOCK = tarfile.BLOCKSIZE
_BUFFER = 1 << 20


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

    def write(self, item: Item, place: str, key: int) -> None:
        """Append one sample, in a new shard where the last one is full."""
        told = {"identity": item.identity, "name": item.name, "label": item.label, "record": key}
        if item.vector is not None:
            told["labels"] = item.vector.tolist()
        text = json.dumps(told, ensure_ascii=False).encode()
        sample = [
            part
            for suffix, data in (
                (image_suffix(item.encoded), item.encoded),
                (".cls", b"%d" % item.label),
                (".json", text),
            )
            for part in _member(f"{key:09d}{suffix}", data)
        ]
        file = self._shard_for(sum(map(len, sample)))
        for part in sample:
            file.write(part)

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


def _member(name: str, data: Encoded) -> tuple[bytes, Encoded, bytes]:
    """A plain file in a tar: header, bytes, zeros up to the next block."""
    header = tarfile.TarInfo(name)
    header.size = len(data)
    return header.tobuf(tarfile.USTAR_FORMAT), data, bytes(-len(data) % _BLOCK)
