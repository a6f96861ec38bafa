"""The list of images and people that a recipe leaves out: `data: {exclude: FILE.csv}`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.data.sources import Source
from facekd.data_tools.csv_table import CsvTable, read_csv
from facekd.errors import FacekdError

_SHOWN = 3


def excluded(source: Source, path: Path) -> NDArray[np.bool_]:
    """Which images of a source a list leaves out.

    The list is a CSV with the columns `image` or `identity` or both, called as `source.called`
    says; `facekd-data overlap --drop` and `facekd-data clean` write such lists. A row that names an
    image means that image; one that names an identity alone means all of its images. A damaged
    record that the source has skipped may be named, too. Other columns are not read.

    Returns:
        bool (n,), True for an image that is left out.

    Raises:
        FacekdError: It cannot be read, has neither column, or names what the source does not hold.
    """
    try:
        table = read_csv(path, empty=True)
        images, people = _named(table)
        ids, names = source.called() if images or people else ((), ())
        chosen = np.zeros(len(source.labels), bool)
        if images:
            chosen = _find_images(table, images, ids, source.called_skipped())
        if people:
            chosen |= np.isin(source.labels, _find_people(table, people, names))
    except FacekdError as error:
        raise FacekdError(f"data: 'exclude': {error}") from error
    return chosen


def _named(table: CsvTable) -> tuple[dict[str, int], dict[str, int]]:
    """The images and the identities that a list names, each with its row."""
    if not {"image", "identity"} & set(table.columns):
        raise FacekdError(
            f"{table.path} has neither a column 'image' nor 'identity' (its first line: "
            f"{', '.join(table.columns)[:80]}); give the list that facekd-data overlap --drop or "
            "clean writes, or add that header line."
        )
    blank = [""] * len(table)
    image = table.column("image") if "image" in table.columns else blank
    identity = table.column("identity") if "identity" in table.columns else blank
    images: dict[str, int] = {}
    people: dict[str, int] = {}
    for row, (one, person) in enumerate(zip(image, identity, strict=True)):
        if not one and not person:
            raise FacekdError(f"{table.where(row)} names neither an image nor an identity.")
        (images if one else people).setdefault(one or person, row)
    return images, people


def _find_images(
    table: CsvTable, wanted: dict[str, int], ids: Sequence[str], skipped: Sequence[str]
) -> NDArray[np.bool_]:
    found = np.zeros(len(ids), bool)
    left_out = set(skipped)
    unknown = {name: row for name, row in wanted.items() if name not in left_out}
    for i, name in enumerate(ids):
        if name in wanted:
            found[i] = True
            unknown.pop(name, None)
    _refuse_unknown(table, unknown, len(wanted), "image")
    return found


def _find_people(table: CsvTable, wanted: dict[str, int], names: Sequence[str]) -> list[int]:
    """Their raw labels."""
    place = {name: k for k, name in enumerate(names)}
    unknown = {name: row for name, row in wanted.items() if name not in place}
    _refuse_unknown(table, unknown, len(wanted), "identity")
    return [place[name] for name in wanted]


def _refuse_unknown(table: CsvTable, unknown: dict[str, int], of: int, what: str) -> None:
    if unknown:
        first = ", ".join(repr(name) for name in list(unknown)[:_SHOWN])
        raise FacekdError(
            f"{table.where(min(unknown.values()))}: the data have no {what} {first}"
            f"{' ...' if len(unknown) > _SHOWN else ''} ({len(unknown)} of the {of} that the list "
            "names); give the list that was made for these data."
        )
