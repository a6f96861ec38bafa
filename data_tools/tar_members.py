"""The plain files in a tar, found by its headers; nothing is unpacked.

A plain header is taken apart here, several times as fast as `tarfile` does it; any other kind (long
names, pax, old forms) is left to that.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ..errors import FacekdError

_MAX_SIZE = 1 << 30
_BLOCK = tarfile.BLOCKSIZE
_MAGICS = (b"ustar\x0000", b"ustar  \x00")
_PACKED = (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5")


class Member(NamedTuple):
    """A plain file in a tar: its name, and the bytes where its header and its content begin."""

    name: str
    at: int
    start: int
    size: int

    def where(self, shard: Path) -> str:
        """Name it for a message."""
        return f"{shard}, {self.name!r} at byte {self.at}"


def read_members(shard: Path, data: memoryview) -> Iterator[Member]:
    """The plain files of a tar; folders are passed over.

    Args:
        shard: The file.
        data: Its bytes.

    Raises:
        FacekdError: It is no tar, compressed, damaged or cut short; or a member is a link, a
            device, or larger than any image.
    """
    at = 0
    try:
        with tarfile.open(shard, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            while True:
                member = None if tar.pax_headers else _plain(data[at : at + _BLOCK], at)
                if member is not None:
                    end = member.start + member.size + -member.size % _BLOCK
                else:
                    found = _look(tar, at)
                    if found is None:
                        break
                    member = Member(found.name, found.offset, found.offset_data, found.size)
                    end = tar.offset
                    if found.isdir():
                        at = end
                        continue
                    if not found.isreg() or found.issparse():
                        what = "is a link or a device; only plain files are read."
                        raise FacekdError(f"{member.where(shard)} {what}")
                _check(member, shard, len(data))
                yield member
                at = end
    except (
        tarfile.TarError,
        EOFError,
        ValueError,
        OverflowError,
        OSError,
        RecursionError,
    ) as error:
        packed = bytes(data[:2]) in _PACKED
        what = "is compressed; unpack it to a plain .tar" if packed else "is no sound tar file"
        raise FacekdError(f"{shard} {what} ({error}).") from error
    tail = bytes(data[at : at + _BLOCK])
    if len(tail) < _BLOCK or any(tail):
        raise FacekdError(
            f"{shard}: no member and no end mark at byte {at}: the file is damaged or cut short; "
            "copy it again."
        )


def _plain(block: memoryview, at: int) -> Member | None:
    """The file whose plain header this is; None where `tarfile` has to look at it."""
    head = bytes(block)
    if len(head) < _BLOCK or head[156:157] != b"0" or head[257:265] not in _MAGICS or head[345]:
        return None
    size, told = head[124:136].rstrip(b"\0 "), head[148:156].rstrip(b"\0 ")
    try:
        if int(told, 8) != sum(head) - sum(head[148:156]) + 8 * ord(" "):
            return None
        name = head[:100].partition(b"\0")[0].decode("utf-8", "surrogateescape")
        return Member(name, at, at + _BLOCK, int(size, 8))
    except ValueError:
        return None


def _look(tar: tarfile.TarFile, at: int) -> tarfile.TarInfo | None:
    """What `tarfile` makes of the header at this byte."""
    if at:
        tar.firstmember = None  # type: ignore[attr-defined]
        tar.offset = at
    tar.members = []  # type: ignore[attr-defined]  # it would keep every header
    return tar.next()


def _check(member: Member, shard: Path, size: int) -> None:
    if not 0 <= member.size <= _MAX_SIZE:
        raise FacekdError(f"{member.where(shard)} has {member.size} bytes, too many for an image.")
    if member.start + member.size > size:
        raise FacekdError(f"{member.where(shard)} is cut short; copy the file again.")
