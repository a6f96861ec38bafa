"""A report read back from its folder, every number worked out anew.

Numbers come from the saved scores and must equal those in `results.json`. What scores alone cannot
tell (groups at thresholds set elsewhere, quality, bootstrap, 1:N) is taken from there.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data_tools.safe_paths import inside
from ..errors import FacekdError
from ..input_file import MAX_JSON, check_input
from .bootstrap import SubjectBootstrap
from .groups import GroupRate, GroupReport
from .identification import GallerySearch, Identification, OpenSetPoint, RankRate
from .plain import FORMAT, Plain
from .quality import RejectCurve
from .results import BenchResult, Evaluation, ModelResult
from .saved_scores import SavedScores, read_scores_file
from .transfer import TransferredPoint
from .verification import Questions, Verification, verify, verify_sorted


def read_report(folder: str | Path) -> Evaluation:
    """The evaluation that a report folder (format 1 or 2) was written from.

    Args:
        folder: With `results.json` and `scores/` inside.

    Raises:
        FacekdError: Not such a folder, or its numbers are not those of its scores.
    """
    folder = Path(folder)
    path = folder / "results.json"
    values = _read_json(path)
    if values.get("format") == 1:
        values = _from_format_1(values)
    elif values.get("format") != FORMAT:
        raise FacekdError(
            f"{path} has format {values.get('format')!r} and this facekd reads 1 to {FORMAT}; use "
            "the facekd that wrote it, or a newer one."
        )
    try:
        name = values["protocol"]["name"]
        return Evaluation(tuple(_bench(b, folder, name) for b in values["benches"]), name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FacekdError(
            f"{path} is not as facekd-eval writes it ({error!r}); evaluate again."
        ) from error


def _read_json(path: Path) -> Plain:
    try:
        check_input(path, MAX_JSON)
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FacekdError(
            f"cannot read {path}: {reason}; give a folder that facekd-eval --out wrote."
        ) from error
    except (ValueError, RecursionError) as error:
        raise FacekdError(f"{path} is not JSON ({error}); evaluate again.") from error
    return values if isinstance(values, dict) else {}


def _from_format_1(values: Plain) -> Plain:
    """The same in format 2: what it did not have is filled in."""
    flip = values["protocol"]["flip"]
    scored = "cosine, " + ("with the mirrored image's embedding added" if flip else "without flip")
    none: Plain = {"groups": [], "quality": None, "bootstrap": None, "transferred": []}
    benches = [
        bench
        | {"kind": "pairs", "not_found": 0, "scores": f"scores/{bench['name']}.npz"}
        | {"models": [model | none | {"scored": scored} for model in bench["models"]]}
        for bench in values["benches"]
    ]
    return {"protocol": {"name": values["protocol"]["threshold_search"]}, "benches": benches}


def _bench(values: Plain, folder: Path, protocol: Any) -> BenchResult:
    saved = None
    if values["scores"] is not None:
        saved = read_scores_file(_inside(folder, values["scores"]), values["folds"] or 0)
        names = tuple(model["name"] for model in values["models"])
        if saved.models != names:
            raise FacekdError(
                f"{folder}: {values['scores']} holds {', '.join(saved.models)}, results.json "
                f"{', '.join(names)}; they are not of one run, so evaluate again."
            )
    models = []
    for number, model in enumerate(values["models"]):
        if saved is None:
            numbers: Verification | Identification = _identification(model["identification"])
        else:
            numbers = _verification(model, saved, number, protocol)
            _check(numbers, model, f"{folder}, bench {values['name']}, model {model['name']}")
        kept = (model["name"], model["file"], model["image_size"], numbers, model["scored"])
        models.append(ModelResult(*kept))
    return BenchResult(
        name=values["name"],
        source=values["source"],
        kind=values["kind"],
        images=values["images"],
        models=tuple(models),
        baseline=values["baseline"],
        not_found=values["not_found"],
        folds=values["folds"],
    )


def _inside(folder: Path, scores: Any) -> Path:
    """The file of a bench's scores, which may lie in the report's folder alone."""
    try:
        return inside(folder, str(scores))
    except FacekdError as error:
        raise FacekdError(f"{folder / 'results.json'}: {error}") from None


def _verification(values: Plain, saved: SavedScores, number: int, protocol: Any) -> Verification:
    fars = tuple(point["target_far"] for point in values["tar_at_far"])
    questions = Questions(fars=fars, protocol=protocol)
    if saved.trials is None:
        numbers = verify_sorted(saved.ranked[number], questions)
    else:
        numbers = verify(saved.scores[number], replace(saved.trials, groups=None), questions)
    quality, bootstrap = values["quality"], values["bootstrap"]
    return replace(
        numbers,
        trials=saved.trials,
        groups=tuple(_group_report(report) for report in values["groups"]),
        quality=quality and RejectCurve(**{**quality, **_arrays(quality, "rejected", "fnmr")}),
        bootstrap=bootstrap and SubjectBootstrap(**_tuples(bootstrap)),
        transferred=tuple(TransferredPoint(**_tuples(point)) for point in values["transferred"]),
    )


def _check(numbers: Verification, values: Plain, where: str) -> None:
    """Stop where the scores do not give the numbers that were written beside them."""
    for what, ours, theirs in _both(numbers, values):
        alike = ours is None or theirs is None or math.isclose(ours, theirs, abs_tol=1e-12)
        if (ours is None) != (theirs is None) or not alike:
            raise FacekdError(
                f"{where}: results.json says {what} {theirs}, the scores give {ours}; they are not "
                "of one run, so evaluate again."
            )


def _both(numbers: Verification, values: Plain) -> Iterator[tuple[str, Any, Any]]:
    """(name, from the scores, from results.json)."""
    yield "AUC", numbers.auc, values["auc"]
    yield "EER", numbers.eer, values["eer"]
    accuracy = values["accuracy"] and values["accuracy"]["mean"]
    yield "accuracy", numbers.accuracy and numbers.accuracy.mean, accuracy
    for point, written in zip(numbers.points, values["tar_at_far"], strict=True):
        yield f"TAR at FAR {point.target_far:g}", point.tar, written["tar"]


def _group_report(values: Plain) -> GroupReport:
    rates = tuple(GroupRate(**_tuples(rate)) for rate in values["rates"])
    return GroupReport(**{**values, "rates": rates})


def _identification(values: Plain) -> Identification:
    return Identification(
        galleries=tuple(
            GallerySearch(
                **{
                    **gallery,
                    "ranks": tuple(RankRate(**_tuples(rate)) for rate in gallery["ranks"]),
                    "points": tuple(OpenSetPoint(**_tuples(p)) for p in gallery["points"]),
                }
            )
            for gallery in values["galleries"]
        ),
        mean_ranks=tuple(RankRate(**_tuples(rate)) for rate in values["mean_ranks"]),
        mean_tpir=_tuple(values["mean_tpir"]),
    )


def _arrays(values: Plain, *names: str) -> Plain:
    return {name: np.asarray(values[name], dtype=np.float64) for name in names}


def _tuples(values: Plain) -> Plain:
    return {name: _tuple(value) for name, value in values.items()}


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value
