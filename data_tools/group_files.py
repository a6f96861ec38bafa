"""Labels of images or pairs from a CSV, put onto the pairs: who belongs to which group."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import FacekdError
from .csv_table import CsvTable, read_csv
from .pairs import PairSet

PAIR = "pair"
IMAGE = "image"
_DEFAULT = "group"


def read_groups(path: str | Path, pairs: PairSet, column: str | None = None) -> NDArray[np.str_]:
    """Each pair's group, from labels of its images or of itself; see `pair_groups`.

    Images go by the names that the pair list gives them. Those of a `.bin` go by their number in
    the file: pair i is images 2i and 2i+1.

    Args:
        path: The CSV.
        pairs: m pairs.
        column: The column of labels.

    Returns:
        str (m,), "" for a pair in no group.
    """
    if pairs.ids is not None:
        return pair_groups(path, pairs.left, pairs.right, pairs.ids, column=column)
    left = 2 * np.arange(len(pairs))
    numbers = [str(i) for i in range(2 * len(pairs))]
    return pair_groups(path, left, left + 1, numbers, column=column)


def pair_groups(
    path: str | Path,
    left: ArrayLike,
    right: ArrayLike,
    ids: Sequence[str],
    *,
    key: str = IMAGE,
    column: str | None = None,
) -> NDArray[np.str_]:
    """Each pair's group, from a CSV with a header line.

    With a column `key` a row labels one item (an image, a template), and a pair belongs to a group
    when both its items have that label; rows of items no pair needs are passed over. With a column
    `pair` a row labels the pair of that number, counted from 0; with neither, row i labels pair i.

    Args:
        path: The CSV.
        left: int (m,), each pair's first item, a row of `ids`.
        right: int (m,), its second.
        ids: What the items are called.
        key: The column that names items.
        column: The column of labels; when None `group`, or the only one besides the key.

    Returns:
        str (m,), "" for a pair in no group: two different labels, or an empty one.

    Raises:
        FacekdError: Labels are missing, twice and different, or not as many as pairs; no such
            column; or no pair is in a group.
    """
    table = read_csv(path)
    one, other = np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64)
    by = next((name for name in (key, PAIR) if name in table.columns), None)
    labels: list[str] = table.labels(column or _label_column(table, by)).tolist()
    if by == key:
        groups = _of_items(table, labels, ids, one, other, key)
    elif by == PAIR:
        wanted = np.arange(len(one))
        given = _labels_by_name(table, table.column(PAIR), labels)
        groups = _look_up(table, given, [str(i) for i in wanted], wanted, PAIR)
    elif len(labels) == len(one):
        groups = np.asarray(labels, dtype=np.str_)
    else:
        raise FacekdError(
            f"{table.path} has {len(labels)} rows for {len(one)} pairs, and no column {key!r} or "
            f"{PAIR!r} that says whose they are (columns: {', '.join(table.columns)})."
        )
    if not (groups != "").any():
        raise FacekdError(
            f"{table.path}: no pair is in a group; both images of a pair need the same label."
        )
    return groups


def _label_column(table: CsvTable, by: str | None) -> str:
    others = [name for name in table.columns if name != by]
    if _DEFAULT in others:
        return _DEFAULT
    if len(others) == 1:
        return others[0]
    raise FacekdError(
        f"{table.path} has the columns {', '.join(table.columns)}; say which holds the groups: "
        f"{table.path}:COLUMN."
    )


def _of_items(
    table: CsvTable,
    labels: list[str],
    ids: Sequence[str],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    key: str,
) -> NDArray[np.str_]:
    given = _labels_by_name(table, table.column(key), labels)
    used = np.unique(np.concatenate([left, right]))
    known = np.full(len(ids), "", dtype=object)
    known[used] = _look_up(table, given, ids, used, key)
    one, other = known[left].astype(np.str_), known[right].astype(np.str_)
    return np.where(one == other, one, "")


def _labels_by_name(table: CsvTable, names: list[str], labels: list[str]) -> dict[str, str]:
    """Name -> label; a name may come twice with the same label."""
    given: dict[str, str] = {}
    for i, (name, label) in enumerate(zip(names, labels, strict=True)):
        if given.setdefault(name, label) != label:
            raise FacekdError(
                f"{table.where(i)}: {name} is labelled {label!r} here and {given[name]!r} before; "
                "correct one of them."
            )
    return given


def _look_up(
    table: CsvTable,
    given: dict[str, str],
    ids: Sequence[str],
    used: NDArray[np.int64],
    key: str,
) -> NDArray[np.str_]:
    """The labels of the ids in use."""
    missing = [ids[i] for i in used if ids[i] not in given]
    if missing:
        wanted = {ids[i] for i in used}
        unknown = next((name for name in given if name not in wanted), None)
        hint = f"; it does name {unknown!r}, which no pair uses" if unknown is not None else ""
        raise FacekdError(
            f"{table.path} labels {len(used) - len(missing)} of the {len(used)} {key}s in use: "
            f"{missing[0]!r} is missing{hint}; give every {key} a row."
        )
    return np.array([given[ids[i]] for i in used], dtype=np.str_)
