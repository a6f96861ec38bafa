"""WebDataset tar shards, read in place: nothing is unpacked, an image is a read at an offset.

A sample is the files that share a name up to its first dot: `key.jpg` (or png, bmp, webp), with
`key.cls`, the label in digits, and where we wrote it `key.json`: identity, name, label, record
number, and all labels where there are several.
"""

import json
import mmap
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from .images import Image, decode_rgb
from .lst import Vector, whole_label
from .safe_paths import safe_relative

_IMAGES = ("jpg", "jpeg", "png", "bmp", "webp", "ppm", "gif", "img")
_MAX_TEXT = 1 << 20
_MAX_IMAGE = 1 << 30
_BLOCK = 512
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class TarImages:
    """Images inside tar files, decoded one at a time on access; picklable.

    Attributes:
        shards: The tar files.
        members: int64 (n, 3): each image's shard, first byte and length.
    """

    shards: Sequence[Path]
    members: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int, /) -> Image:
        try:
            return decode_rgb(self.encoded(index))
        except FacekdError as error:
            raise FacekdError(f"{self.where(index)}: {error}") from error

    def __getstate__(self) -> dict[str, Any]:
        return {"shards": self.shards, "members": self.members}

    def encoded(self, index: int, /) -> memoryview:
        """The image's bytes, a view into the mapped file."""
        shard, at, size = self.members[index].tolist()
        data: memoryview = self._mapped[shard]
        if at + size > len(data):
            raise FacekdError(f"{self.where(index)}: the file has become shorter; copy it again.")
        return data[at : at + size]

    def where(self, index: int, /) -> str:
        """Shard, image and byte, for a message."""
        shard, at, _ = self.members[index].tolist()
        return f"{self.shards[shard].name} image {index} at byte {at}"

    @cached_property
    def _mapped(self) -> list[memoryview]:
        return [_map(shard) for shard in self.shards]


class TarSet(NamedTuple):
    """What tar shards hold, in their order.

    Attributes:
        images: The n images.
        labels: int64 (n,).
        places: Paths `identity/name`; the sample's key where no JSON names it.
        keys: int64 (n,), record numbers; None where they are not given or given twice.
        vectors: All labels of the images that have several, by image.
    """

    images: TarImages
    labels: NDArray[np.int64]
    places: list[str]
    keys: NDArray[np.int64] | None
    vectors: dict[int, Vector]


@dataclass
class _Sample:
    """The members of one key."""

    key: str
    image: tuple[int, int, str] | None = None
    texts: dict[str, bytes] = field(default_factory=dict)


def find_shards(path: Path) -> list[Path]:
    """The tar files that a path stands for; none where it is something else.

    A `.tar` file, a folder with `*.tar` in it, or a pattern: `*`, `?` and one `{0000..0009}`.

    Raises:
        FacekdError: A pattern's shard is not there, or none is.
    """
    if path.is_dir():
        return sorted(one for one in path.glob("*.tar") if one.is_file())
    if path.suffix != ".tar" or path.is_file():
        return [path] if path.suffix == ".tar" else []
    braces = re.fullmatch(r"(.*)\{(\d{1,9})\.\.(\d{1,9})\}(.*)", path.name)
    if braces:
        head, first, last, tail = braces.groups()
        width = len(first)
        if int(last) - int(first) >= 1_000_000:
            raise FacekdError(f"{path} means more than a million shards.")
        numbers = range(int(first), int(last) + 1)
        found = [path.with_name(f"{head}{i:0{width}d}{tail}") for i in numbers]
    else:
        found = sorted(path.parent.glob(path.name))
    absent = [shard for shard in found if not shard.is_file()]
    if absent or not found:
        raise FacekdError(f"{absent[0] if absent else path} does not exist.")
    return found


def read_shards(shards: Sequence[Path]) -> TarSet:
    """Index tar shards: where each image lies, its label and name.

    Raises:
        FacekdError: A file is no tar, is compressed or cut short; a member is a link, a device or
            too large, its name leaves its folder or occurs twice; a sample has no image, two
            images, or no label.
    """
    members: list[tuple[int, int, int]] = []
    labels: list[int] = []
    places: list[str] = []
    keys: list[int] = []
    vectors: dict[int, Vector] = {}
    seen: set[str] = set()
    for number, shard in enumerate(shards):
        for sample in _samples(shard):
            where = f"{shard}, sample {sample.key}"
            if sample.key in seen:
                raise FacekdError(f"{where}: there are two samples of that name; rename one.")
            seen.add(sample.key)
            try:
                if sample.image is None:
                    raise FacekdError(f"it has no image ({', '.join(_IMAGES)}).")
                label, place, key, vector = _meaning(sample)
            except FacekdError as error:
                raise FacekdError(f"{where}: {error}") from None
            if vector is not None:
                vectors[len(labels)] = vector
            members.append((number, *sample.image[:2]))
            labels.append(label)
            places.append(place)
            keys.append(key)
    if not labels:
        raise FacekdError(f"{shards[0]} holds no images.")
    numbered = min(keys) >= 0 and len(set(keys)) == len(keys)
    return TarSet(
        TarImages(tuple(shards), np.array(members, dtype=np.int64)),
        np.array(labels, dtype=np.int64),
        places,
        np.array(keys, dtype=np.int64) if numbered else None,
        vectors,
    )


def _samples(shard: Path) -> Iterator[_Sample]:
    """The samples of one shard: consecutive members of one key."""
    current: _Sample | None = None
    names: set[str] = set()
    data = _map(shard)
    for member in _members(shard, data):
        where = f"{shard}, {member.name!r} at byte {member.offset}"
        try:
            name = str(safe_relative(member.name))
        except FacekdError as error:
            raise FacekdError(f"{where}: {error}") from None
        if name in names:
            raise FacekdError(f"{where}: there are two members of that name; write it anew.")
        names.add(name)
        folder, slash, file = name.rpartition("/")
        stem, _, kind = file.partition(".")
        key, kind = folder + slash + stem, kind.lower()
        if current is None or current.key != key:
            if current is not None:
                yield current
            current = _Sample(key)
        if kind in _IMAGES:
            if current.image is not None:
                raise FacekdError(f"{where}: its sample has two images; keep one.")
            current.image = (member.offset_data, member.size, kind)
        elif kind in ("cls", "json"):
            if member.size > _MAX_TEXT:
                raise FacekdError(f"{where}: {member.size} bytes are too many for a .{kind}.")
            at = member.offset_data
            current.texts[kind] = bytes(data[at : at + member.size])
    if current is not None:
        yield current


def _members(shard: Path, data: memoryview) -> Iterator[tarfile.TarInfo]:
    """The plain files of a tar; anything but files and folders is refused."""
    try:
        with tarfile.open(shard, "r:", encoding="utf-8", errors="surrogateescape") as tar:
            while (member := tar.next()) is not None:
                where = f"{shard}, {member.name!r} at byte {member.offset}"
                if member.isdir():
                    continue
                if not member.isreg() or member.issparse():
                    raise FacekdError(f"{where} is a link or a device; only plain files are read.")
                if not 0 <= member.size <= _MAX_IMAGE:
                    raise FacekdError(f"{where} has {member.size} bytes, too many for an image.")
                if member.offset_data + member.size > len(data):
                    raise FacekdError(f"{where} is cut short; copy the file again.")
                yield member
                tar.members = []  # type: ignore[attr-defined]  # it would keep every header
            end = tar.offset
    except (
        tarfile.TarError,
        EOFError,
        ValueError,
        OverflowError,
        OSError,
        RecursionError,
    ) as error:
        packed = bytes(data[:2]) in (b"\x1f\x8b", b"BZ", b"\xfd7", b"\x28\xb5")
        what = "is compressed; unpack it to a plain .tar" if packed else "is no sound tar file"
        raise FacekdError(f"{shard} {what} ({error}).") from error
    tail = bytes(data[end : end + _BLOCK])
    if len(tail) < _BLOCK or any(tail):
        raise FacekdError(
            f"{shard}: no member and no end mark at byte {end}: the file is damaged or cut short; "
            "copy it again."
        )


def _meaning(sample: _Sample) -> tuple[int, str, int, Vector | None]:
    """Label, place, record number (-1 for none) and vector label of a sample."""
    told = _json(sample.texts["json"]) if "json" in sample.texts else {}
    label = told.get("label")
    if "cls" in sample.texts:
        text = sample.texts["cls"].strip()
        if not re.fullmatch(rb"[0-9]{1,9}", text):
            raise FacekdError(f"its .cls is {text[:40]!r}, no class number.")
        if label is not None and label != int(text):
            raise FacekdError(f"its .cls says {int(text)}, its .json says {label!r}.")
        label = int(text)
    if not isinstance(label, int | float) or isinstance(label, bool):
        raise FacekdError("it has no label: neither a .cls nor a .json with a number `label`.")
    vector = told.get("labels")
    if vector is not None:
        if not isinstance(vector, list) or not all(_is_float32(x) for x in vector):
            raise FacekdError("its `labels` are no list of numbers.")
        if not vector or vector[0] != label:
            raise FacekdError("its `labels` do not begin with its `label`.")
    key = told.get("record", -1)
    if isinstance(key, bool) or not isinstance(key, int) or not -1 <= key < 1 << 63:
        raise FacekdError(f"its `record` is {key!r}, no record number.")
    place = _place(sample, told)
    return whole_label(label), place, key, None if vector is None else np.array(vector, np.float32)


def _is_float32(value: object) -> bool:
    return isinstance(value, int | float) and not abs(value) > _FLOAT32_MAX


def _place(sample: _Sample, told: dict[str, Any]) -> str:
    identity, name = told.get("identity"), told.get("name")
    if identity is None and name is None:
        assert sample.image is not None
        return f"{sample.key}.{sample.image[2]}"
    if not isinstance(identity, str) or not isinstance(name, str):
        raise FacekdError("its `identity` and `name` are not both texts.")
    return str(safe_relative(f"{identity}/{name}"))


def _json(text: bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FacekdError(f"its .json is no JSON ({error}).") from None
    if not isinstance(told, dict):
        raise FacekdError("its .json is no object.")
    return told


def _map(path: Path) -> memoryview:
    try:
        with path.open("rb") as file:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        raise FacekdError(f"cannot read {path}: {error.strerror or error}.") from error
    except ValueError as error:
        raise FacekdError(f"{path} is empty: copy it again.") from error
