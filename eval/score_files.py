"""Scores that another program has worked out: one number a pair, with or without the answers."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data_tools.csv_table import ANSWERS, CsvTable, read_csv
from ..errors import FacekdError
from ..npy_file import map_npy
from .scores import Array
from .trials import Trials

_NOBODY = "scores alone do not say who is in a pair (columns subject_a, subject_b)"


def read_scores(path: str | Path, same: NDArray[np.bool_] | None = None) -> Array:
    """One score a pair, in the order of a bench's pair list: a `.npy`, or a CSV's column `score`.

    Args:
        path: The file.
        same: bool (m,), the bench's answers; a CSV that has a column `same` must agree.

    Returns:
        float (m,), in the file's own float type.

    Raises:
        FacekdError: No such file, another shape or type, a score that is not finite, or pairs in
            another order.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        return _listed(read_csv(path), same)
    try:
        scores = map_npy(path)
    except (OSError, ValueError) as error:
        raise FacekdError(
            f"{path} cannot be read as a .npy file of scores: give a .npy of one float a pair, or "
            "a .csv with a column score."
        ) from error
    if not isinstance(scores, np.ndarray):
        raise FacekdError(
            f"{path} holds several arrays; give a .npy of one float a pair, or, for the scores "
            "of a report, facekd-eval --compare FOLDER."
        )
    if scores.ndim != 1 or scores.dtype.kind not in "fiu":
        raise FacekdError(
            f"{path} holds {scores.dtype} of shape {scores.shape}; scores are one float a pair."
        )
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        raise FacekdError(
            f"{path}: score {bad[0]}, counted from 0, is {scores[bad[0]]} ({len(bad)} of "
            f"{len(scores)} are not finite); give every pair a score."
        )
    return scores


def read_scored_pairs(path: str | Path) -> tuple[Array, Trials]:
    """Scores that bring their own answers: a CSV with the columns `score,same`.

    `same` is 1/0 or true/false; the columns `fold`, `group`, and `subject_a` with `subject_b` may
    stand beside it.

    Returns:
        float64 (m,), and the pairs.

    Raises:
        FacekdError: Not such a file; the message names the line.
    """
    path = Path(path)
    if path.suffix.lower() != ".csv":
        raise FacekdError(
            f"{path} is no .csv, so it cannot say which pairs are genuine; give a CSV with the "
            "columns score,same, or name the bench whose pairs these are with --bench."
        )
    table = read_csv(path)
    scores = _numbers(table)
    if "same" not in table.columns:
        raise FacekdError(
            f"{path} has no column same (it has {', '.join(table.columns)}); add it, or name the "
            "bench whose pairs these are with --bench."
        )
    same = _answers(table)
    subjects = _subjects(table, same)
    trials = Trials(
        same=same,
        folds=_folds(table) if "fold" in table.columns else None,
        groups=table.labels("group") if "group" in table.columns else None,
        subjects=subjects,
        subjects_from=_NOBODY
        if subjects is None
        else f"{path.name}, columns subject_a and subject_b",
    )
    return scores, trials


def _listed(table: CsvTable, same: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """The scores of a CSV whose answers, if it has any, are the bench's."""
    if same is not None and "same" in table.columns and len(table) == len(same):
        other = np.flatnonzero(_answers(table) != same)
        if len(other):
            raise FacekdError(
                f"{table.where(int(other[0]))}: same is not what the bench says of this pair "
                f"({len(other)} of {len(same)} lines); give the scores in the bench's order."
            )
    return _numbers(table)


def _numbers(table: CsvTable) -> NDArray[np.float64]:
    texts = table.column("score")
    numbers = np.array([_number(text) for text in texts])
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise FacekdError(
            f"{table.where(int(bad[0]))}: the score {texts[bad[0]]!r} is no finite number "
            f"({len(bad)} of {len(texts)} lines); give every pair a score."
        )
    return numbers


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _answers(table: CsvTable) -> NDArray[np.bool_]:
    answers = table.column("same")
    for i, answer in enumerate(answers):
        if answer.lower() not in ANSWERS:
            raise FacekdError(f"{table.where(i)}: same is {answer!r}; write 1 or 0.")
    same = np.array([ANSWERS[answer.lower()] for answer in answers])
    if same.all() or not same.any():
        kind = "impostor" if same.all() else "genuine"
        raise FacekdError(
            f"{table.path}: none of its {len(same)} pairs is {kind}; give both kinds."
        )
    return same


def _subjects(table: CsvTable, same: NDArray[np.bool_]) -> NDArray[np.int32] | None:
    columns = [name for name in ("subject_a", "subject_b") if name in table.columns]
    if not columns:
        return None
    if len(columns) == 1:
        raise FacekdError(f"{table.path} has the column {columns[0]} only; give both or none.")
    both = np.stack([_names(table, name) for name in columns], axis=1)
    wrong = np.flatnonzero((both[:, 0] == both[:, 1]) != same)
    if len(wrong):
        one, other = both[wrong[0]]
        kind = "a genuine" if same[wrong[0]] else "an impostor"
        raise FacekdError(
            f"{table.where(int(wrong[0]))}: {kind} pair of {one} and {other}; correct the answer "
            "or the people."
        )
    numbers = np.unique(both, return_inverse=True)[1].reshape(both.shape)
    return numbers.astype(np.int32)


def _folds(table: CsvTable) -> NDArray[np.int64]:
    """The folds by number, from 0."""
    names, numbers = np.unique(_names(table, "fold"), return_inverse=True)
    if len(names) < 2:
        raise FacekdError(
            f"{table.path}: every pair is in fold {names[0]}; give two folds or more, or leave the "
            "column out."
        )
    return numbers.astype(np.int64)


def _names(table: CsvTable, name: str) -> NDArray[np.str_]:
    """A column in which no text may be empty."""
    texts = table.column(name)
    if "" in texts:
        raise FacekdError(f"{table.where(texts.index(''))}: {name} is empty; give every pair one.")
    return table.labels(name)
