"""WebDataset tar shards, read in place: nothing is unpacked, an image is a read at an offset.

A sample is the files that share a name up to its first dot: `key.jpg` (or png, bmp, webp), with
`key.cls`, the label in digits, and where we wrote it `key.json`: identity, name, label, record
number, and all labels where there are several.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import FacekdError
from .columns import Column, Int64s, repeated, rising, sorted_copy
from .folder import SUFFIXES, UNKNOWN_SUFFIX
from .images import Image, decode_rgb
from .label_vectors import LabelVectors, Vector
from .lst import whole_label
from .mapped_file import MappedFiles, map_file
from .numbered_files import find_files
from .safe_paths import check_relative
from .tar_members import Member, read_members
from .texts import Texts

_IMAGES = frozenset(suffix.removeprefix(".") for suffix in SUFFIXES | {UNKNOWN_SUFFIX})
_TWO_SAMPLES = "{}: there are two samples of that name; rename one."
_MAX_TEXT = 1 << 20
_FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class TarImages:
    """Images inside tar files, decoded one at a time on access; picklable.

    Attributes:
        shards: The tar files.
        members: int64 (n, 3): each image's shard, first byte and length.
    """

    shards: Sequence[Path]
    members: Int64s

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
        data = self._mapped[shard]
        if at + size > len(data):
            raise FacekdError(f"{self.where(index)}: the file has become shorter; copy it again.")
        return data[at : at + size]

    def take(self, rows: Int64s, /) -> "TarImages":
        """These images alone, for another process."""
        used, shard = np.unique(self.members[rows, 0], return_inverse=True)
        members = np.column_stack([shard, self.members[rows, 1:]])
        return TarImages([self.shards[i] for i in used.tolist()], members)

    def where(self, index: int, /) -> str:
        """Shard and byte, for a message."""
        shard, at, _ = self.members[index].tolist()
        return f"{self.shards[shard].name} at byte {at}"

    @cached_property
    def _mapped(self) -> MappedFiles:
        return MappedFiles(self.shards)


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
    labels: Int64s
    places: Texts
    keys: Int64s | None
    vectors: LabelVectors


@dataclass
class _Sample:
    """The members of one key."""

    key: str
    image: tuple[int, int, str] | None = None
    texts: dict[str, bytes] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)


def find_shards(path: Path) -> list[Path]:
    """The tar files that a path stands for; none where it is something else.

    A `.tar` file, a folder with `*.tar` in it, or a pattern: `*`, `?` and one `{0000..0009}`.

    Raises:
        FacekdError: A pattern's shard is not there, or none is; or one is a folder, a pipe or such.
    """
    return find_files(path, ".tar")


def read_shards(shards: Sequence[Path]) -> TarSet:
    """Index tar shards: where each image lies, its label and name.

    Raises:
        FacekdError: A file is no tar, is compressed or cut short; a member is a link, a device or
            too large, its name leaves its folder or occurs twice; a sample has no image, two
            images, or no label.
    """
    members, labels, keys, hashes = (Column() for _ in range(4))
    places, vectors = Texts(), LabelVectors()
    for number, shard in enumerate(shards):
        for sample in _samples(shard):
            try:
                if sample.image is None:
                    raise FacekdError(f"it has no image ({', '.join(sorted(_IMAGES))}).")
                label, place, key, vector = _meaning(sample)
            except FacekdError as error:
                where = f"{shard}, sample {sample.key}"
                if hash(sample.key) in hashes.numbers:
                    raise FacekdError(_TWO_SAMPLES.format(where)) from None
                raise FacekdError(f"{where}: {error}") from None
            if vector is not None:
                vectors.append(len(labels), vector)
            members.extend(np.array((number, *sample.image[:2])))
            labels.append(label)
            places.append(place)
            keys.append(key)
            hashes.append(hash(sample.key))
    if not len(labels):
        raise FacekdError(f"{shards[0]} holds no images.")
    _check_names(shards, sorted_copy(hashes.numbers))
    numbers = keys.numbers
    numbered = numbers.min() >= 0 and (rising(numbers) or rising(sorted_copy(numbers)))
    return TarSet(
        TarImages(tuple(shards), members.numbers.reshape(-1, 3)),
        labels.numbers,
        places,
        numbers if numbered else None,
        vectors,
    )


def _check_names(shards: Sequence[Path], hashes: Int64s) -> None:
    """Make sure that no two samples have one name; only equal hashes (in order) are looked at."""
    twice = set(repeated(hashes))
    seen: set[str] = set()
    for shard in shards if twice else ():
        for sample in _samples(shard):
            if hash(sample.key) in twice:
                if sample.key in seen:
                    raise FacekdError(_TWO_SAMPLES.format(f"{shard}, sample {sample.key}"))
                seen.add(sample.key)


def _samples(shard: Path) -> Iterator[_Sample]:
    """The samples of one shard: consecutive members of one key."""
    current: _Sample | None = None
    data = map_file(shard)
    for member in read_members(shard, data):
        try:
            check_relative(member.name)
            key, kind = _parts(member.name)
            if current is None or current.key != key:
                if current is not None:
                    yield current
                current = _Sample(key)
            _add(current, member, kind, data)
        except FacekdError as error:
            raise FacekdError(f"{member.where(shard)}: {error}") from None
    if current is not None:
        yield current


def is_image_member(name: str) -> bool:
    """Whether a member of a shard is its sample's image, by its name."""
    return _parts(name)[1] in _IMAGES


def _parts(name: str) -> tuple[str, str]:
    """The name up to the first dot of its file, and what follows."""
    folder, slash, file = name.rpartition("/")
    stem, _, kind = file.partition(".")
    return folder + slash + stem, kind.lower()


def _add(sample: _Sample, member: Member, kind: str, data: memoryview) -> None:
    if member.name in sample.names:
        raise FacekdError("there are two members of that name; write it anew.")
    sample.names.append(member.name)
    if kind in _IMAGES:
        if sample.image is not None:
            raise FacekdError("its sample has two images; keep one.")
        sample.image = (member.start, member.size, kind)
    elif kind in ("cls", "json"):
        if member.size > _MAX_TEXT:
            raise FacekdError(f"{member.size} bytes are too many for a .{kind}.")
        sample.texts[kind] = bytes(data[member.start : member.start + member.size])


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
    return check_relative(f"{identity}/{name}")


def _json(text: bytes) -> dict[str, Any]:
    try:
        told = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FacekdError(f"its .json is no JSON ({error}).") from None
    if not isinstance(told, dict):
        raise FacekdError("its .json is no object.")
    return told
