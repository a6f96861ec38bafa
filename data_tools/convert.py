"""From one form of a labelled set to another, the images' bytes untouched."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..errors import FacekdError
from .bin_folder import PAIRS, bin_to_folder, folder_to_bin
from .columns import (
    Int64s,
    column,
    distinct,
    numbered,
    order_of,
    rising,
    rows_where,
    sorted_copy,
    taken,
)
from .forming import FEW
from .in_processes import in_processes
from .items import Items
from .labelled import LabelledImages, OnBad, RecordImages, open_labelled
from .rec_writer import Layout, run_starts
from .writers import SHARD_BYTES, SetKind, check_destination, kind_of, write_set

Kind = SetKind | Literal["bin"]
Watch = Callable[[Iterable[Any], int], Iterable[Any]]

_PART = 256  # images that are looked at in one go


@dataclass(frozen=True)
class Converted:
    """What a conversion did.

    Attributes:
        kind: What was written.
        count: How many images; of a `.bin` how many pairs.
        skipped: Sentences, one for each image left out.
        layout: The layout of the `.rec`, or the one its numbers will give it.
    """

    kind: Kind
    count: int
    skipped: list[str] = field(default_factory=list)
    layout: Layout | None = None


def convert(
    source: str | Path,
    destination: str | Path,
    *,
    to: SetKind | None = None,
    layout: Layout | None = None,
    shuffle: int | None = None,
    on_bad_record: OnBad = "error",
    workers: int = 1,
    force: bool = False,
    shard_bytes: int = SHARD_BYTES,
    shard_images: int | None = None,
    watch: Watch = lambda pieces, count: pieces,
) -> Converted:
    """Convert between `.rec`, image folder and tar shards, or between `.bin` and its folder.

    Args:
        source: The set, as `open_labelled` takes it, or a `.bin`, or a folder with `pairs.csv`.
        destination: What to write, as `write_set` takes it, or a `.bin`.
        to: The kind of set to write; by the destination's name when None.
        layout: Of a `.rec`; that of the source when None, face2rec where it has none.
        shuffle: Seed of a random order in the file or in the shards. Images keep their numbers.
        on_bad_record: With "skip" images that cannot be read are left out.
        workers: Processes that read and form images; what is written does not depend on it.
        force: Replace a set that stands there.
        shard_bytes: See `write_set`.
        shard_images: See `write_set`.
        watch: Wraps what is written, one piece an image, given how many there will be: for a
            progress bar.

    Raises:
        FacekdError: As `open_labelled` and `write_set`; or one of the two lies inside the other.
    """
    source, destination = Path(source), Path(destination)
    _check_apart(source, destination)
    if ".bin" in (source.suffix, destination.suffix):
        return _convert_bin(source, destination, force)
    kind = to or kind_of(destination)
    check_destination(destination, kind, force)
    found = open_labelled(source, on_bad_record)
    layout = layout or source_layout(found)
    skipped = list(found.images.records.skipped) if isinstance(found.images, RecordImages) else []
    rows = numbered(len(found.images))
    if on_bad_record == "skip":
        rows, unread = _readable(Items(found), workers)
        skipped += unread
    plan = _shuffled(_plan(found, rows, layout), shuffle)
    count = write_set(
        Items(found, plan.rows, plan.keys),
        destination,
        kind,
        force=force,
        layout=layout,
        shard_bytes=shard_bytes,
        shard_images=shard_images,
        workers=workers,
        watch=lambda pieces: watch(pieces, len(plan.rows)),
    )
    return Converted(kind, count, skipped, layout)


def source_layout(found: LabelledImages) -> Layout:
    """The layout of a set: im2rec's records are numbered from 0 or with gaps, face2rec's 1..n."""
    if isinstance(found.images, RecordImages):
        return "im2rec" if found.images.records.layout == "im2rec" else "face2rec"
    keys = found.keys
    if keys is None:
        return "face2rec"
    keys = keys if rising(keys) else sorted_copy(keys)
    return "face2rec" if rising(keys) and (keys[0], keys[-1]) == (1, len(keys)) else "im2rec"


class _Plan(NamedTuple):
    """Which image of the source gets which record number, in the order of the numbers."""

    rows: Int64s
    keys: Int64s


def _plan(found: LabelledImages, rows: Int64s, layout: Layout) -> _Plan:
    if found.keys is not None:
        keys = taken(found.keys, rows)
        rows = rows if rising(keys) else taken(rows, order_of(keys))
    if layout == "face2rec":
        labels = taken(found.labels, rows)
        if len(run_starts(labels)) > len(distinct(labels)[0]):
            rows = taken(rows, order_of(labels))
        return _Plan(rows, numbered(len(rows), first=1))
    if found.keys is not None and source_layout(found) == "im2rec":
        return _Plan(rows, taken(found.keys, rows))
    return _Plan(rows, numbered(len(rows)))


def _shuffled(plan: _Plan, seed: int | None) -> _Plan:
    if seed is None:
        return plan
    order = numbered(len(plan.rows))
    np.random.default_rng(seed).shuffle(order)
    return _Plan(taken(plan.rows, order), taken(plan.keys, order))


def _readable(items: Items, workers: int) -> tuple[Int64s, list[str]]:
    """The images that can be read, and a sentence for each other one."""
    good = column(len(items), np.bool_)
    reasons: list[str] = []
    parts = [slice(at, min(at + _PART, len(items))) for at in range(0, len(items), _PART)]
    with ExitStack() as stack:
        found: Iterator[dict[int, str]] = (_unreadable(items.take(part)) for part in parts)
        if workers > 1 and len(items) >= FEW:
            jobs = (items.take(part) for part in parts)
            found = stack.enter_context(closing(in_processes(_unreadable, jobs, workers)))
        for part, bad in zip(parts, found, strict=True):
            good[part] = True
            good[[part.start + i for i in bad]] = False
            reasons += bad.values()
    return rows_where(good), reasons


def _unreadable(items: Items) -> dict[int, str]:
    """Those of some images that cannot be read, and why."""
    reasons = {}
    for i in range(len(items)):
        try:
            _ = items[i]
        except FacekdError as error:
            reasons[i] = str(error)
    return reasons


def _convert_bin(source: Path, destination: Path, force: bool) -> Converted:
    if destination.suffix == ".bin":
        if not (source / PAIRS).is_file():
            raise FacekdError(
                f"{source} is no folder with a {PAIRS}; a .bin needs pairs: see "
                "`facekd-data make-bin --help`."
            )
        check_destination(destination, "bin", force)
        return Converted("bin", folder_to_bin(source, destination))
    if kind_of(destination) != "folder":
        raise FacekdError(f"a .bin becomes a folder; {destination} is none.")
    check_destination(destination, "folder", force)
    return Converted("folder", bin_to_folder(source, destination))


def _check_apart(source: Path, destination: Path) -> None:
    one, other = source.resolve(), destination.resolve()
    if one == other or one in other.parents or other in one.parents:
        where = "the same" if one == other else "one inside the other"
        raise FacekdError(
            f"{source} and {destination} are {where}; write to another place, beside the source."
        )
