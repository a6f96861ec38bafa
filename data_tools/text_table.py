"""Large text tables, a record a line, to typed columns; what is wrong is told with its line."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import FacekdError
from ..input_file import MAX_TABLE, check_input

Columns = Mapping[str, type[np.number[Any]] | type[str]]

MAX_TEXT = 1024
"""Characters of a field."""


def read_table(path: Path, columns: Columns, *, header: bool = False) -> dict[str, NDArray[Any]]:
    """Read a table that has been checked line by line.

    Args:
        path: The file.
        columns: Name and type of each field, in order.
        header: False: fields with blanks between them, no more of them than columns. True: fields
            with commas between them under a header line; more fields may follow.

    Returns:
        One array a column; strings as numpy's of fixed width. A float may be "nan".

    Raises:
        FacekdError: No such file, one too large, no records, no header line, or a line that is
            not so.
    """
    _check_start(path, columns, header)
    # the first separator is twice as fast as the second
    for separator in [","] if header else [" ", r"\s+"]:
        try:
            table = _parse(path, columns, separator, header)
        except (ValueError, OverflowError) as error:
            told = error
        else:
            break
    else:
        _tell_bad_line(path, columns, header)
        raise FacekdError(f"{path} cannot be read as {_shape(columns, header)}: {told}.")
    if not len(next(iter(table.values()))):
        raise FacekdError(f"{path} holds no records; expected lines of {_shape(columns, header)}.")
    return table


def _parse(path: Path, columns: Columns, separator: str, header: bool) -> dict[str, NDArray[Any]]:
    import pandas as pd

    floats = [name for name, kind in columns.items() if issubclass(kind, np.floating)]
    with np.errstate(over="ignore", invalid="ignore"):  # what does not fit is told elsewhere
        frame = pd.read_csv(
            path,
            sep=separator,
            header=0 if header else None,
            names=list(columns),
            usecols=range(len(columns)) if header else None,
            dtype=dict(columns),
            skip_blank_lines=False,
            keep_default_na=False,
            na_values={name: ["nan", "NaN"] for name in floats},
            quoting=csv.QUOTE_MINIMAL if header else csv.QUOTE_NONE,
        )
    if not isinstance(frame.index, pd.RangeIndex):
        raise ValueError("lines of more fields than columns")
    return {
        name: _texts(frame[name].to_list()) if kind is str else frame[name].to_numpy()
        for name, kind in columns.items()
    }


def _texts(texts: list[str]) -> NDArray[np.str_]:
    """As an array, in which each text takes as much room as the longest."""
    if max(map(len, texts), default=0) > MAX_TEXT:
        raise ValueError("a text that is too long")
    return np.array(texts, np.str_)


def _check_start(path: Path, columns: Columns, header: bool) -> None:
    """Raise unless the file is there, holds anything, and starts with a header if it has one."""
    try:
        check_input(path, MAX_TABLE)
        with path.open("rb") as file:
            first = file.readline()
    except OSError as error:
        raise FacekdError(f"cannot read {path}: {error.strerror}.") from error
    if not first:
        raise FacekdError(f"{path} is empty; expected lines of {_shape(columns, header)}.")
    if header and first.split(b",")[0].strip().isdigit():
        raise FacekdError(
            f"{path}, line 1 is already a record, not the header {_shape(columns, header)}; add it."
        )


def _tell_bad_line(path: Path, columns: Columns, header: bool) -> None:
    """Raise for the first line that is not as it should be."""
    with path.open(encoding="utf-8", errors="replace", newline="") as file:
        for number, line in enumerate(file, 1):
            if header and number == 1:
                continue
            fields = next(csv.reader([line]), []) if header else line.split()
            fault = _fault(fields, columns, header)
            if fault:
                raise FacekdError(
                    f"{path}, line {number}: {fault}; expected {_shape(columns, header)}."
                )


def _fault(fields: list[str], columns: Columns, header: bool) -> str:
    if len(fields) < len(columns) or (len(fields) > len(columns) and not header):
        return f"{len(fields)} fields"
    for field, (name, kind) in zip(fields, columns.items(), strict=False):
        if kind is str:
            if len(field) > MAX_TEXT:
                return f"{name} has {len(field)} characters, at most {MAX_TEXT} are allowed"
            continue
        try:
            value = float(field)
        except ValueError:
            return f"{name} is {field!r}"
        if issubclass(kind, np.integer):
            limits = np.iinfo(kind)
            if not (value.is_integer() and limits.min <= value <= limits.max):
                return f"{name} is {field!r}, not a whole number of {limits.bits} bits"
    return ""


def _shape(columns: Columns, header: bool) -> str:
    return ",".join(columns) + ",..." if header else "'" + " ".join(columns) + "'"
