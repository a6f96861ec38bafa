"""CSV files with a header line: the columns by name, each row with its line number."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError, did_you_mean
from ..input_file import MAX_TABLE, check_input

ANSWERS = {"1": True, "true": True, "0": False, "false": False}
"""How a column `same` says genuine or impostor, in small letters."""
MAX_LABEL = 255
"""Characters of a group's, a fold's or a person's name."""


@dataclass(frozen=True)
class CsvTable:
    """What a CSV file holds.

    Attributes:
        path: The file.
        columns: The header's names, stripped.
        rows: One list of stripped texts a row, as many as there are columns.
        lines: The line each row ends on, counted from 1.
    """

    path: Path
    columns: list[str]
    rows: list[list[str]]
    lines: list[int]

    def __len__(self) -> int:
        return len(self.rows)

    def column(self, name: str) -> list[str]:
        """The texts of one column.

        Raises:
            FacekdError: There is none of that name.
        """
        if name not in self.columns:
            raise FacekdError(
                f"{self.path} has no column {name!r}; {did_you_mean(name, self.columns)}"
            )
        at = self.columns.index(name)
        return [row[at] for row in self.rows]

    def labels(self, name: str) -> NDArray[np.str_]:
        """One column as an array, in which each text takes as much room as the longest.

        Raises:
            FacekdError: There is none of that name, or a text in it is longer than `MAX_LABEL`.
        """
        texts = self.column(name)
        long = next((row for row, text in enumerate(texts) if len(text) > MAX_LABEL), None)
        if long is not None:
            raise FacekdError(
                f"{self.where(long)}: {name} has {len(texts[long])} characters, at most "
                f"{MAX_LABEL} are allowed; shorten it."
            )
        return np.array(texts, np.str_)

    def where(self, row: int) -> str:
        """A row's file and line, for error messages."""
        return f"{self.path}, line {self.lines[row]}"


def read_csv(path: str | Path, empty: bool = False) -> CsvTable:
    """Read a comma-separated UTF-8 file with a header line; empty lines are passed over.

    Args:
        path: The file.
        empty: A header line without rows below it will do.

    Raises:
        FacekdError: It cannot be read or is too large, is no text, has no rows, names a column
            twice, or has a row of another length than the header.
    """
    path = Path(path)
    rows: list[list[str]] = []
    lines: list[int] = []
    try:
        check_input(path, MAX_TABLE)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            for row in reader:
                if any(field.strip() for field in row):
                    rows.append([field.strip() for field in row])
                    lines.append(reader.line_num)
    except OSError as error:
        raise FacekdError(f"cannot read {path}: {error.strerror or error}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        line = f"after line {lines[-1]}" if lines else "at its start"
        raise FacekdError(
            f"{path} is no UTF-8 text of comma-separated values {line} ({error}); export it again."
        ) from error
    if len(rows) < (1 if empty else 2):
        raise FacekdError(f"{path} has no {'' if empty else 'rows below a '}header line.")
    header = rows[0]
    if len(set(header)) < len(header):
        raise FacekdError(f"{path}, line {lines[0]}: a column is named twice: {', '.join(header)}.")
    table = CsvTable(path, header, rows[1:], lines[1:])
    for i, row in enumerate(table.rows):
        if len(row) != len(header):
            raise FacekdError(
                f"{table.where(i)} has {len(row)} fields, the header has {len(header)} "
                f"({', '.join(header)}); quote a field that holds a comma."
            )
    return table
