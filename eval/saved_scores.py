"""The scores of a bench as a file: all that is needed to work out every number again.

`scores/BENCH.npz`, format 2, uncompressed, no pickle inside:

    format, models (k,) names
    scores (k, m) in their own float type, same (m,) bool
    folds (m,) int, where there are folds
    group_names (g,), group (m,) int32 places in it, where there are groups
    subjects (m, 2) int32, where they are known; subjects_from, in words
    or, where all pairs were streamed, for each model i:
    genuine_i, impostor_i rising, counts_i int64 how many pairs each impostor score stands for

Format 1 had format, models, scores and same; its folds are consecutive.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data_tools.pairs import file_order_folds
from ..errors import FacekdError
from ..files import atomic_path
from ..npy_file import read_npz
from .results import BenchResult, Evaluation
from .scores import Array, SortedScores
from .trials import Trials
from .verification import Verification

FORMAT = 2
FORMATS = (1, 2)

_LONGEST_NAME = 4096  # bytes of a group's: each pair takes as many


@dataclass(frozen=True)
class SavedScores:
    """What such a file holds.

    Attributes:
        models: Names.
        scores: (m,) of each model; empty where all pairs were streamed.
        trials: The pairs, or None then.
        ranked: Sorted scores of each model, where all pairs were streamed; else empty.
    """

    models: tuple[str, ...]
    scores: tuple[Array, ...]
    trials: Trials | None
    ranked: tuple[SortedScores, ...]


def score_files(evaluation: Evaluation) -> dict[str, str]:
    """Bench name -> where its scores go, relative to the report; 1:N benches have none.

    Letters that a file name may not hold everywhere become `_`; names that are then alike, also
    for a file system that takes A for a, get a number.
    """
    files: dict[str, str] = {}
    taken: set[str] = set()
    for bench in evaluation.benches:
        if not bench.genuine:
            continue
        stem = re.sub(r"[^\w.+-]", "_", bench.name, flags=re.ASCII).strip("._")[:80] or "bench"
        name, number = stem, 1
        while name.lower() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.lower())
        files[bench.name] = f"scores/{name}.npz"
    return files


def write_scores(bench: BenchResult, path: Path) -> Path:
    """Write a 1:1 bench's scores atomically; returns the path."""
    models = [numbers for _, numbers in bench.verified()]
    arrays: dict[str, Any] = {
        "format": np.int64(FORMAT),
        "models": np.array([model.name for model, _ in bench.verified()], dtype=np.str_),
    }
    trials = models[0].trials
    arrays |= _streamed(models) if trials is None else _listed(models, trials)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)
    return path


def read_scores_file(path: Path, folds: int) -> SavedScores:
    """Read such a file of any format.

    Args:
        path: The file.
        folds: How many consecutive folds a file of format 1 has.

    Raises:
        FacekdError: No such file, or not one that facekd-eval wrote.
    """
    try:
        arrays = read_npz(path)
        number = int(arrays["format"])
        if number not in FORMATS:
            raise FacekdError(
                f"{path} has format {number} and this facekd reads {FORMATS[0]} to {FORMATS[-1]}; "
                "use the facekd that wrote it, or a newer one."
            )
        if number == 1:
            arrays["folds"] = file_order_folds(len(arrays["same"]), folds)
        return _from_arrays(arrays)
    except (OSError, ValueError, TypeError, LookupError) as error:
        raise FacekdError(
            f"cannot read the scores in {path} ({error!r}); evaluate again."
        ) from error


def _listed(models: list[Verification], trials: Trials) -> dict[str, Any]:
    scores = [model.scores for model in models if model.scores is not None]
    arrays: dict[str, Any] = {
        "scores": scores[0][None] if len(scores) == 1 else np.stack(scores),
        "same": trials.same,
        "subjects_from": np.str_(trials.subjects_from),
    }
    if trials.folds is not None:
        arrays["folds"] = trials.folds
    if trials.groups is not None:
        arrays["group_names"], group = np.unique(trials.groups, return_inverse=True)
        arrays["group"] = group.astype(np.int32)
    if trials.subjects is not None:
        arrays["subjects"] = trials.subjects
    return arrays


def _streamed(models: list[Verification]) -> dict[str, Any]:
    arrays: dict[str, Any] = {}
    for i, ranked in enumerate(model.ranked for model in models):
        counts = ranked.impostor_counts
        arrays[f"genuine_{i}"] = ranked.genuine
        arrays[f"impostor_{i}"] = ranked.impostor
        arrays[f"counts_{i}"] = (
            np.ones(len(ranked.impostor), dtype=np.int64) if counts is None else counts
        )
    return arrays


def _from_arrays(arrays: dict[str, Any]) -> SavedScores:
    models = tuple(arrays["models"].tolist())
    if "same" not in arrays:
        ranked = (
            SortedScores(arrays[f"genuine_{i}"], arrays[f"impostor_{i}"], arrays[f"counts_{i}"])
            for i in range(len(models))
        )
        return SavedScores(models, (), None, tuple(ranked))
    groups = None
    if "group" in arrays:
        if arrays["group_names"].dtype.itemsize > _LONGEST_NAME:
            raise ValueError("the name of a group is too long")
        groups = arrays["group_names"][arrays["group"]]
    trials = Trials(
        same=arrays["same"],
        folds=arrays.get("folds"),
        groups=groups,
        subjects=arrays.get("subjects"),
        subjects_from=str(arrays.get("subjects_from", "")),
    )
    return SavedScores(models, tuple(arrays["scores"]), trials, ())
