"""What saved embeddings, saved scores and report folders hold, in a few numbers."""

from pathlib import Path
from typing import Any

import numpy as np

from facekd.eval.embeddings import open_embeddings
from facekd.eval.saved_report import read_report
from facekd.eval.saved_scores import read_scores_file
from facekd.eval.score_files import read_scores
from facekd.npy_file import map_npy

_ROWS = 4096
_FOLDS = 10


def array_facts(path: Path) -> dict[str, Any]:
    """A `.npy`: embeddings with their description, or one score a pair."""
    if _dimensions(path) == 1:
        scores = read_scores(path)
        return {
            "path": str(path),
            "kind": "scores",
            "pairs": len(scores),
            "dtype": str(scores.dtype),
            "scores": _spread(np.asarray(scores, dtype=np.float64)),
        }
    embeddings = open_embeddings(path)
    rows = np.unique(np.linspace(0, embeddings.count - 1, _ROWS).astype(np.int64))
    norms = np.linalg.norm(embeddings.array[rows].astype(np.float64), axis=1)
    good = norms[np.isfinite(norms) & (norms > 0)]
    return {
        "path": str(path),
        "kind": "embeddings",
        "faces": embeddings.count,
        "embedding_dim": embeddings.dim,
        "dtype": str(embeddings.array.dtype),
        "rows_hold": "original | mirrored" if embeddings.halves else "one embedding",
        "bytes": path.stat().st_size,
        "norms": {"looked_at": len(rows), **(_spread(good) if len(good) else {})},
        "zero_or_not_finite": len(rows) - len(good),
        "description": {
            key: value
            for key, value in embeddings.description.items()
            if key not in ("format", "shape", "halves")
        },
    }


def scores_facts(path: Path) -> dict[str, Any]:
    """A `scores/BENCH.npz` of a report."""
    saved = read_scores_file(path, _FOLDS)
    facts: dict[str, Any] = {
        "path": str(path),
        "kind": "saved scores",
        "models": ", ".join(saved.models),
    }
    if saved.trials is None:
        facts["genuine_pairs"] = len(saved.ranked[0].genuine)
        counts = saved.ranked[0].impostor_counts
        facts["impostor_pairs"] = int(
            len(saved.ranked[0].impostor) if counts is None else counts.sum()
        )
        return facts
    trials = saved.trials
    genuine = int(np.count_nonzero(trials.same))
    return facts | {
        "pairs": len(trials.same),
        "genuine_pairs": genuine,
        "impostor_pairs": len(trials.same) - genuine,
        "folds": 0 if trials.folds is None else len(np.unique(trials.folds)),
        "groups": 0 if trials.groups is None else len(np.unique(trials.groups)),
        "subjects": "known" if trials.subjects is not None else "not known",
    }


def report_facts(path: Path) -> dict[str, Any]:
    """A folder that `facekd-eval --out` wrote; every number in it is checked by its scores."""
    evaluation = read_report(path)
    return {
        "path": str(path),
        "kind": "report",
        "protocol": evaluation.protocol,
        "benches": {
            bench.name: ", ".join(model.name for model in bench.models)
            for bench in evaluation.benches
        },
    }


def _dimensions(path: Path) -> int:
    """How many the array has; 2 where that cannot be told here."""
    try:
        return int(map_npy(path).ndim)
    except (OSError, ValueError, AttributeError):
        return 2  # open_embeddings says what is wrong


def _spread(values: "np.ndarray[Any, np.dtype[np.float64]]") -> dict[str, float]:
    return {
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
    }
