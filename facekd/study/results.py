"""The table of a study: one row a finished run, in a CSV file that is meant to be committed."""

import csv
import io
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from facekd.data_tools.csv_table import read_csv
from facekd.errors import FacekdError
from facekd.files import write_text
from facekd.locks import lock

FORMAT = "1"
Row = dict[str, str]
KEY = ("study", "method", "seed", "settings_hash")
FIRST = (
    "format",
    *KEY,
    "date",
    "commit",
    "images",
    "steps",
    "minutes",
    "minutes_built_on",
    "images_per_second",
    "threads",
    "params",
)
_LAST = ("settings",)


class Results:
    """The finished runs of a study.

    Args:
        path: The CSV; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[Row]:
        """All rows, in the order in which the runs finished.

        Raises:
            FacekdError: It cannot be read, or is of another format.
        """
        if not self.path.exists():
            return []
        table = read_csv(self.path, empty=True)
        missing = [name for name in (*FIRST, *_LAST) if name not in table.columns]
        if missing:
            raise FacekdError(
                f"{self.path} is no table of a study: it has no column {missing[0]!r}; restore "
                "it, or name another file in `results`."
            )
        rows = [dict(zip(table.columns, cells, strict=True)) for cells in table.rows]
        for number, row in enumerate(rows):
            if row["format"] != FORMAT:
                raise FacekdError(
                    f"{table.where(number)}: format {row['format']!r}, and this facekd reads "
                    f"format {FORMAT}; use a newer one."
                )
        return rows

    def add(self, row: Mapping[str, str]) -> None:
        """Append a row, on the disk when this returns; a run that has one already keeps that one.

        Raises:
            FacekdError: The file cannot be read or written.
        """
        with self._alone():
            rows = self.rows()
            if any(key_of(other) == key_of(row) for other in rows):
                return
            columns = _columns([*rows, dict(row)])
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows([*rows, row])
            write_text(self.path, text.getvalue())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one process of the machine at a time writes into the folder."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path.parent, os.O_RDONLY)
        except OSError as error:
            raise FacekdError(
                f"cannot write to the folder {self.path.parent}: {error.strerror or error}."
            ) from error
        try:
            lock(handle, wait=True)
            yield
        finally:
            os.close(handle)


def key_of(row: Mapping[str, str]) -> tuple[str, ...]:
    """What a run is known by."""
    return tuple(row[name] for name in KEY)


def _columns(rows: list[Row]) -> list[str]:
    """Those of every row: what a run is, the benches as they come, the settings last."""
    seen = dict.fromkeys(name for row in rows for name in row)
    between = [name for name in seen if name not in FIRST and name not in _LAST]
    return [*FIRST, *between, *_LAST]
