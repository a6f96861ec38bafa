"""Lists beside a `.rec`: which record is whose image, `key<TAB>label<TAB>identity/name.jpg`.

That is im2rec's format; between key and path there may be several labels. insightface's own lists,
`aligned<TAB>path<TAB>label`, are read too: line k names record k, and of the path only the last
folder and the file name are taken.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import FacekdError
from ..input_file import MAX_LIST, check_input
from .columns import (
    Column,
    Int64s,
    blocks,
    column,
    first_difference,
    order_of,
    repeated,
    rising,
    sorted_copy,
    taken,
)
from .facerec import MAX_LABEL
from .label_vectors import LabelVectors, Vector
from .safe_paths import check_relative
from .texts import Texts, plain

FOLDER_LIST = "images.lst"

_LONGEST = 1 << 20  # bytes of a line


@dataclass(frozen=True)
class ImageList:
    """What a list says, in the order of its keys.

    Attributes:
        path: The file.
        keys: int64 (n,), ascending: record numbers.
        labels: int64 (n,), of several labels the first.
        places: Relative paths with forward slashes, as `identity/name.jpg`.
        vectors: The labels of the lines that hold several, by their place in the list.
    """

    path: Path
    keys: Int64s
    labels: Int64s
    places: Texts
    vectors: LabelVectors = field(default_factory=LabelVectors)

    def select(self, keys: Int64s) -> "ImageList":
        """The lines of these records, in their order.

        Raises:
            FacekdError: A record has no line.
        """
        if len(keys) == len(self.keys) and first_difference(keys, self.keys) is None:
            return self
        rows, missing, first = column(len(keys)), 0, 0
        for part in blocks(len(keys)):
            rows[part] = np.searchsorted(self.keys, keys[part]).clip(max=len(self.keys) - 1)
            absent = np.flatnonzero(self.keys[rows[part]] != keys[part])
            if len(absent):
                first = first if missing else keys[part].item(absent[0])
                missing += len(absent)
        if missing:
            raise FacekdError(
                f"{self.path} has no line for record {first} ({missing} of {len(keys)} are "
                "missing): it belongs to another file; move it away."
            )
        labels, places = taken(self.labels, rows), self.places.select(rows)
        return ImageList(self.path, keys, labels, places, self.vectors.select(rows))


def read_list(path: str | Path) -> ImageList:
    """Read a `.lst`, line by line.

    Raises:
        FacekdError: It cannot be read or is no UTF-8; a line is of neither form, has a label that
            is none, or a path that leaves its folder; a record is listed twice.
    """
    path = Path(path)
    keys, labels = Column(), Column()
    places, vectors = Texts(), LabelVectors()
    for number, line in _lines(path):
        try:
            key, values, place = _parse(line, number)
            labels.append(whole_label(values[0]))
        except FacekdError as error:
            raise FacekdError(f"{path}, line {number}: {error}") from None
        if len(values) > 1:
            vectors.append(len(keys), values)
        keys.append(key)
        places.append(place)
    if not len(keys):
        raise FacekdError(f"{path} lists no images.")
    return _sorted(ImageList(path, keys.numbers, labels.numbers, places, vectors))


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    try:
        check_input(path, MAX_LIST)
        with path.open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_LONGEST), b""), 1):
                if len(line) == _LONGEST:
                    raise FacekdError(f"{path}, line {number} is longer than {_LONGEST} bytes.")
                text = line.decode("utf-8").removesuffix("\n").removesuffix("\r")
                if text.strip():
                    yield number, text
    except OSError as error:
        raise FacekdError(f"cannot read {path}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise FacekdError(f"{path} is no UTF-8 text (line {number}: {error}).") from error


def whole_label(value: float) -> int:
    """A class label as an int.

    Raises:
        FacekdError: It is no whole number from 0 to 2**24.
    """
    if not (0 <= value <= MAX_LABEL and value == int(value)):
        shown = f"{value:g}" if isinstance(value, float) else str(value)[:40]  # of any length
        raise FacekdError(f"the label {shown} is no whole number from 0 to 2**24.")
    return int(value)


def list_line(key: int, label: int, vector: Vector | None, place: str) -> bytes:
    """One line of a list.

    Raises:
        FacekdError: The path cannot stand in a list: it holds a tab or a line break, or is no text.
    """
    values = [f"{label}"] if vector is None else [f"{x:.9g}" for x in vector.tolist()]
    try:
        text = "\t".join([str(key), *values, place]).encode()
    except UnicodeEncodeError:
        text = b"\n"
    if b"\n" in text or b"\r" in text or "\t" in place:
        raise FacekdError(
            f"the image {place!r} cannot stand in a list: rename it, without tabs, line breaks and "
            "bytes that are no UTF-8."
        )
    return text + b"\n"


def identity_names(labels: Int64s, places: Sequence[str]) -> Texts | None:
    """The folder of each label, "" for a number no image has; None where they do not go together.

    Args:
        labels: int64 (n,).
        places: n paths `identity/name`.
    """
    rows = _first_rows(labels, places)
    if rows is None:
        return None
    names, hashes = Texts(), Column()
    for row in plain(rows):
        names.append(places[row - 1].rpartition("/")[0] if row else "")
        if row:
            hashes.append(hash(names[-1]))
    alike = set(repeated(sorted_copy(hashes.numbers)))
    shared = [name for name in names if hash(name) in alike] if alike else []
    return None if len(set(shared)) < len(shared) else names


def _first_rows(labels: Int64s, places: Sequence[str]) -> Int64s | None:
    """For each label the number of its first image, from 1; 0 for none; None where folders differ.

    A label's images lie in one folder, which is named.
    """
    rows = column(int(labels.max()) + 1)
    last, last_identity = -1, ""
    for row, (label, place) in enumerate(zip(plain(labels), places, strict=True)):
        identity = place.rpartition("/")[0]
        if label != last:
            first = rows.item(label)
            last, last_identity = label, places[first - 1].rpartition("/")[0] if first else identity
            if not first:
                rows[label] = row + 1
        if not identity or identity != last_identity:
            return None
    return rows


def _parse(line: str, number: int) -> tuple[int, list[float], str]:
    """Key, labels and path of one line."""
    fields = line.split("\t")
    try:
        if len(fields) >= 3 and fields[0].isascii() and fields[0].isdecimal():
            if "/" in fields[1] and not _is_number(fields[1]):
                path = "/".join(fields[1].rsplit("/", 2)[-2:])
                return number, [float(fields[2])], check_relative(path)
            place = check_relative(fields[-1])
            return _key(fields[0]), [float(text) for text in fields[1:-1]], place
    except ValueError:
        pass
    raise FacekdError(f"{line[:80]!r} is not 'key<tab>label<tab>path'; mend the line.")


def _key(text: str) -> int:
    key = int(text) if len(text) < 20 else 1 << 63
    if key >= 1 << 63:
        raise FacekdError(f"the record number {text[:40]} is too large.")
    return key


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _sorted(listed: ImageList) -> ImageList:
    """The list in the order of its keys, none of which occurs twice."""
    if rising(listed.keys):
        return listed
    order = order_of(listed.keys)
    keys = taken(listed.keys, order)
    if twice := repeated(keys):
        raise FacekdError(f"{listed.path} lists the record {twice[0]} more than once.")
    places, vectors = listed.places.select(order), listed.vectors.select(order)
    return ImageList(listed.path, keys, taken(listed.labels, order), places, vectors)
