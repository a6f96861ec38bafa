"""What an alignment has done so far, as a file: an interrupted one goes on from there."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import FacekdError
from ..locks import lock
from .landmark_table import Face


@dataclass(frozen=True)
class Outcome:
    """What became of one photograph.

    Attributes:
        image: Its path below the source folder.
        faces: The faces that were cut out, best first.
        reason: Why there are none; "" if there are.
        retried: Whether they were found with a border only.
    """

    image: str
    faces: list[Face]
    reason: str = ""
    retried: bool = False


class AlignLog:
    """Outcomes in a file, one JSON line each after a line of settings; a torn last line is cut off.

    Args:
        path: The file; it goes on where it is there.
        settings: What the outcomes depend on.

    Raises:
        FacekdError: It is there and was made with other settings, or is no such log.
    """

    def __init__(self, path: Path, settings: dict[str, Any]) -> None:
        self._path = path
        self._places: dict[str, int] = {}
        header = json.dumps({"facekd_align": 1, **settings}, sort_keys=True).encode() + b"\n"
        try:
            self._file = path.open("a+b")
            if not lock(self._file.fileno()):
                self._file.close()
                raise FacekdError(f"another run is aligning into {path.parent}; wait for it.")
            self._file.seek(0)
            first = self._file.readline()
            if first and first != header and first.endswith(b"\n"):
                raise FacekdError(self._other(first, header))
            if first == header:
                self._read_places(len(header))
            else:
                self._file.truncate(0)
                self._file.write(header)
        except OSError as error:
            raise FacekdError(f"cannot write {path}: {error.strerror or error}.") from error

    def __contains__(self, image: str) -> bool:
        return image in self._places

    def __enter__(self) -> "AlignLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def add(self, outcome: Outcome) -> None:
        """Write one outcome; it is in the file when this returns."""
        line = json.dumps(_entry(outcome), ensure_ascii=True).encode() + b"\n"
        try:
            place = self._file.seek(0, 2)
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise FacekdError(f"cannot write {self._path}: {error.strerror or error}.") from error
        self._places[outcome.image] = place

    def outcomes(self, images: Iterable[str]) -> Iterator[Outcome]:
        """What became of these images, in this order; those that are not in it are passed over."""
        for image in images:
            if image in self._places:
                self._file.seek(self._places[image])
                yield self._parse(self._file.readline())

    def _read_places(self, start: int) -> None:
        place = start
        for line in self._file:
            if not line.endswith(b"\n"):
                self._file.truncate(place)
                break
            self._places[self._parse(line).image] = place
            place += len(line)

    def _parse(self, line: bytes) -> Outcome:
        try:
            entry = json.loads(line)
            faces = [Face(str(face["crop"]), list(face["numbers"])) for face in entry["faces"]]
            return Outcome(str(entry["image"]), faces, str(entry["reason"]), bool(entry["retried"]))
        except (ValueError, KeyError, TypeError) as error:
            raise FacekdError(
                f"{self._path} is damaged ({line[:60]!r}); begin anew with --force."
            ) from error

    def _other(self, first: bytes, header: bytes) -> str:
        try:
            was, now = json.loads(first), json.loads(header)
            changed = [
                f"{key} {was.get(key)!r}, now {now[key]!r}"
                for key in now
                if was.get(key) != now[key]
            ]
        except (ValueError, AttributeError):
            changed = ["it is damaged"]
        return (
            f"{self._path} is of an interrupted alignment with other settings "
            f"({'; '.join(changed)}); give those again, or --force to begin anew."
        )


def _entry(outcome: Outcome) -> dict[str, Any]:
    """As `dataclasses.asdict`, which copies every number and takes fifty times as long."""
    return vars(outcome) | {"faces": [vars(face) for face in outcome.faces]}
