"""Reading and decoding everything a data set holds, to find what is bad in it."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path

from ..errors import FacekdError
from ..files import write_text
from ..fingerprint import fingerprint
from .binfile import read_bin
from .findings import BadRecord, Checks
from .in_processes import in_processes
from .kinds import locate
from .labelled import from_shards, open_labelled
from .record_checks import RecordChecks
from .strict_decode import decode_strictly
from .tar_shards import TarImages, find_shards, read_shards

_FORMAT = 1
_SAVE_EVERY = 2.0  # seconds
_FEW = 4096  # pieces that are not worth starting processes for
_PART = 256  # pieces that a process is given at once


class BinChecks:
    """A `.bin` file image by image."""

    notes: tuple[str, ...] = ()

    def __init__(self, path: Path) -> None:
        stat = path.stat()
        self.path = path
        self.content = read_bin(path)
        self.fingerprint = fingerprint([f"{path.name} {stat.st_size} {stat.st_mtime_ns}"])

    def __len__(self) -> int:
        return len(self.content.encoded)

    def __reduce__(self) -> tuple[type["BinChecks"], tuple[Path]]:
        return BinChecks, (self.path,)

    def check(self, i: int, /) -> BadRecord | None:
        """Decode the i-th image."""
        try:
            decode_strictly(self.content.encoded[i])
        except FacekdError as error:
            return BadRecord(i, None, str(error))
        return None


class LabelledChecks:
    """An image folder or tar shards image by image; a shard that cannot be read is one finding."""

    def __init__(self, path: Path, shards: list[Path]) -> None:
        self.path, self.has_shards = path, bool(shards)
        self.notes: list[str] = []
        self._bad_shards: list[BadRecord] = []
        try:
            self.labelled = from_shards(path, shards) if shards else open_labelled(path)
        except FacekdError:
            sound = [shard for shard in shards if self._is_sound(shard)]
            if len(sound) in (0, len(shards)):
                raise
            self.labelled = from_shards(path, sound)
        self.fingerprint = fingerprint(
            [self.labelled.fingerprint, *(bad.reason for bad in self._bad_shards)]
        )

    def __len__(self) -> int:
        return len(self.labelled.images) + len(self._bad_shards)

    def check(self, i: int, /) -> BadRecord | None:
        """Read and decode the i-th image."""
        images = self.labelled.images
        if i >= len(images):
            return self._bad_shards[i - len(images)]
        try:
            decode_strictly(images.encoded(i))
        except FacekdError as error:
            offset = int(images.members[i, 1]) if isinstance(images, TarImages) else None
            return BadRecord(self.labelled.ids[i], offset, str(error))
        return None

    def _is_sound(self, shard: Path) -> bool:
        try:
            read_shards([shard])
        except FacekdError as error:
            reason = f"{error} All that it holds is left unread."
            self._bad_shards.append(BadRecord(shard.name, None, reason))
            return False
        return True


def open_checks(path: str | Path) -> Checks:
    """The checks of a `.rec` file, a `.bin` file, an image folder or tar shards.

    Raises:
        FacekdError: The file, its index or the folder cannot be read at all, or is something else.
    """
    place = locate(path)
    try:
        if place.kind == "records":
            return RecordChecks(place.path)
        if place.kind == "bin":
            return BinChecks(place.path)
        if place.kind in ("folder", "shards"):
            return LabelledChecks(place.path, find_shards(place.path))
    except OSError as error:
        where = error.filename or path
        raise FacekdError(f"cannot read {where}: {error.strerror or error}.") from error
    raise FacekdError(
        f"{path} holds no records to verify: give a .rec file, a .bin file, an image folder or "
        "tar shards; `facekd-data inspect` tells what it is."
    )


def verify(
    checks: Checks,
    state: str | Path | None = None,
    workers: int = 1,
    tick: Callable[[int], object] = lambda pieces: None,
) -> dict[int, BadRecord]:
    """Check everything, or, after an interruption, the rest of it.

    Args:
        checks: The set.
        state: A file in which the findings and how far it has come are kept, every two seconds and
            when anything breaks off the work; it stays when the work is done (`forget` it). One
            that is of another set, or of this one before it changed, is passed over.
        workers: Processes; few pieces are checked in this one.
        tick: Called with the number of pieces done since the last call.

    Returns:
        Piece -> finding, in order, the same whether interrupted or not.

    Raises:
        FacekdError: The state cannot be read or written, or a process died; what was found until
            then is in the state.
    """
    done, findings = _load(state, checks)
    tick(done)
    saved = time.monotonic()
    try:
        for part, found in _check_all(checks, range(done, len(checks)), workers):
            findings |= found
            done += len(part)
            tick(len(part))
            if state is not None and time.monotonic() - saved > _SAVE_EVERY:
                _save(state, checks, done, findings)
                saved = time.monotonic()
    finally:
        if state is not None:
            _save(state, checks, done, findings)
    return findings


def _check_all(
    checks: Checks, pieces: range, workers: int
) -> Iterator[tuple[range, dict[int, BadRecord]]]:
    """The pieces part by part, in order, with what is bad in each part."""
    if workers <= 1 or len(pieces) < _FEW:
        for piece in pieces:
            alone = range(piece, piece + 1)
            yield alone, _check_part(checks, alone)
        return
    parts = [pieces[at : at + _PART] for at in range(0, len(pieces), _PART)]
    with closing(in_processes(partial(_check_part, checks), parts, workers)) as results:
        yield from zip(parts, results, strict=True)


def _check_part(checks: Checks, part: range) -> dict[int, BadRecord]:
    found = ((i, checks.check(i)) for i in part)
    return {i: finding for i, finding in found if finding is not None}


def forget(state: str | Path) -> None:
    """Remove a state file, if there is one."""
    Path(state).unlink(missing_ok=True)


def _save(state: str | Path, checks: Checks, done: int, findings: dict[int, BadRecord]) -> None:
    content = {
        "format": _FORMAT,
        "fingerprint": checks.fingerprint,
        "pieces": len(checks),
        "done": done,
        "findings": {piece: asdict(finding) for piece, finding in findings.items()},
    }
    write_text(state, json.dumps(content))


def _load(state: str | Path | None, checks: Checks) -> tuple[int, dict[int, BadRecord]]:
    """How far an earlier run came, and what it found; nothing where it was of another set."""
    if state is None or not Path(state).is_file():
        return 0, {}
    try:
        content = json.loads(Path(state).read_text(encoding="utf-8"))
        known = (content["format"], content["fingerprint"], content["pieces"])
        if known != (_FORMAT, checks.fingerprint, len(checks)):
            return 0, {}
        found = {int(i): BadRecord(**finding) for i, finding in content["findings"].items()}
        return int(content["done"]), found
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise FacekdError(
            f"{state} cannot be read as the state of a broken-off verification: remove it."
        ) from error
