"""A clean copy of a damaged set: what is sound, byte for byte, and nothing else."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ..errors import FacekdError
from .binfile import write_bin
from .facerec import read_record
from .findings import BadRecord, Checks
from .items import Item, Items, image_suffix
from .rec_writer import Layout
from .record_checks import NO_KEY, RecordChecks
from .verify import BinChecks, LabelledChecks
from .writers import SetKind, check_destination, write_set


def repair(
    checks: Checks, findings: Mapping[int, BadRecord], path: str | Path, *, force: bool = False
) -> int:
    """Write what is sound of a set as a set of the same kind; it appears whole or not at all.

    Images keep their bytes, labels and names. A `.rec` gets a new index, and in face2rec's layout
    new record numbers; of a `.bin` a pair is left out with either of its images.

    Args:
        checks: The set.
        findings: All that `verify` found in it.
        path: The copy.
        force: Replace what stands there.

    Returns:
        How many images were written.

    Raises:
        FacekdError: As `check_repair`; nothing is sound; or the copy cannot be written.
    """
    path = Path(path)
    check_repair(checks, path, force=force)
    lost = {piece for piece, finding in findings.items() if finding.lost}
    if isinstance(checks, BinChecks):
        return _write_pairs(checks, lost, path)
    if isinstance(checks, RecordChecks):
        rows = _record_rows(checks, lost)
        layout: Layout = "face2rec" if checks.is_face2rec else "im2rec"
        if not rows:
            raise FacekdError(f"no image of {checks.path} is sound: there is nothing to copy.")
        return write_set(_record_items(checks, rows), path, "rec", force=force, layout=layout)
    assert isinstance(checks, LabelledChecks)
    items = Items(checks.labelled)
    sound = (items[i] for i in range(len(items)) if i not in lost)
    return write_set(sound, path, _kind(checks), force=force)


def check_repair(checks: Checks, path: str | Path, *, force: bool = False) -> None:
    """Check, before the work, that a copy can be written there.

    Raises:
        FacekdError: Something stands there, it is the set itself or inside it, or its name is that
            of another kind of set.
    """
    path = Path(path)
    assert isinstance(checks, BinChecks | RecordChecks | LabelledChecks)
    source = checks.path.resolve()
    if source == path.resolve() or source in path.resolve().parents:
        raise FacekdError(f"{path} is the damaged set itself or inside it: name another place.")
    kind = "bin" if isinstance(checks, BinChecks) else _kind(checks)
    suffixes = {"bin": ".bin", "rec": ".rec"}
    if kind in suffixes and path.suffix != suffixes[kind]:
        raise FacekdError(f"{path} is no name for the copy of a {suffixes[kind]} file: end it so.")
    check_destination(path, kind, force)


def _kind(checks: RecordChecks | LabelledChecks) -> SetKind:
    if isinstance(checks, RecordChecks):
        return "rec"
    return "tar" if checks.has_shards else "folder"


def _write_pairs(checks: BinChecks, lost: set[int], path: Path) -> int:
    content = checks.content
    kept = [k for k in range(len(content.same)) if not lost & {2 * k, 2 * k + 1}]
    if not kept:
        raise FacekdError(f"no pair of {checks.path} is sound: there is nothing to copy.")
    images = [content.encoded[i] for k in kept for i in (2 * k, 2 * k + 1)]
    write_bin(path, images, [bool(content.same[k]) for k in kept])
    return len(images)


def _record_rows(checks: RecordChecks, lost: set[int]) -> list[int]:
    """The pieces to copy, each place in the file once, in the order of a good `.rec`."""
    rows: dict[int, int] = {}  # by place in the file
    for i in range(len(checks.records)):
        if i not in lost and checks.is_record(i) and checks.is_image(i):
            rows.setdefault(checks.records.offsets.item(i), i)
    found = list(rows.values())
    if not checks.is_face2rec:
        return found
    first: dict[int, int] = {}
    place = {i: first.setdefault(_label(checks, i), i) for i in found}
    return sorted(found, key=lambda i: place[i])  # an identity's images together


def _record_items(checks: RecordChecks, rows: list[int]) -> Iterator[Item]:
    numbers = _numbers(checks, rows)
    digits = len(str(max(numbers)))
    numbered = min(numbers) >= 0 and not checks.is_face2rec
    for i, number in zip(rows, numbers, strict=True):
        header, encoded = read_record(checks.records, i)
        vector = header.label if isinstance(header.label, np.ndarray) else None
        label = _label(checks, i)
        place = checks.place(number, label)
        if place is None:
            offset = checks.records.offsets[i]
            stem = f"{number:0{digits}d}" if number >= 0 else f"byte{offset}"
            place = f"{stem}{image_suffix(encoded)}"
        if "/" not in place:
            place = f"{label}/{place}"
        identity, _, name = place.rpartition("/")
        yield Item(identity, name, label, encoded, number if numbered else None, vector)


def _numbers(checks: RecordChecks, rows: list[int]) -> list[int]:
    """Each piece's record number: the index's, or where that is in doubt the record's own; or -1.

    No number occurs twice.
    """
    numbers: list[int] = checks.records.keys[rows].tolist()
    counts = Counter(numbers)
    own = {
        i: read_record(checks.records, row)[0].id
        for i, row in enumerate(rows)
        if numbers[i] == NO_KEY or counts[numbers[i]] > 1
    }
    taken = set(numbers) - {numbers[i] for i in own}
    for i, number in own.items():
        free = number < 1 << 63 and number not in taken
        numbers[i] = number if free else NO_KEY
        taken.add(number)
    return numbers


def _label(checks: RecordChecks, i: int) -> int:
    return int(np.atleast_1d(read_record(checks.records, i)[0].label)[0])
