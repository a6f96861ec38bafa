"""A threshold set on one set of pairs, applied to another: the rates it really gives there."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import FacekdError
from ..input_file import MAX_JSON, check_input
from .intervals import Interval, clopper_pearson
from .scores import SortedScores

FORMATS = (1, 2)
"""The formats of results.json that thresholds can be read from."""


@dataclass(frozen=True)
class SetThreshold:
    """A threshold that was set elsewhere.

    Attributes:
        target_far: The FAR it was set for there.
        threshold: A cosine.
        source: Where: "bench lfw, model student, runs/x/results.json".
    """

    target_far: float
    threshold: float
    source: str


@dataclass(frozen=True)
class TransferredPoint:
    """What a threshold set elsewhere does here.

    Attributes:
        source: Where it was set.
        target_far: The FAR it was set for there.
        threshold: The cosine.
        far: The FAR it has here, with its 95 % Clopper-Pearson interval.
        far_interval: That interval.
        false_accepts: How many impostor pairs it accepts here.
        tar: The TAR it has here.
        tar_interval: Its 95 % Clopper-Pearson interval.
    """

    source: str
    target_far: float
    threshold: float
    far: float
    far_interval: Interval
    false_accepts: int
    tar: float
    tar_interval: Interval


def read_thresholds(
    path: str | Path, *, model: str, bench: str | None = None
) -> tuple[SetThreshold, ...]:
    """The thresholds of one model's operating points, from a `results.json` of facekd-eval.

    Args:
        path: The file.
        model: Name of the model there; where there is one only, it is that, whatever its name.
        bench: Name of the bench there; None where there is one only.

    Returns:
        One a FAR that has a threshold, in the file's order.

    Raises:
        FacekdError: The file is no such results.json, or has not that model, that bench, or any
            threshold there; the sentence says what it has.
    """
    benches = _read_benches(Path(path))
    try:
        found = _pick(benches, bench, "bench", str(path))
        there = f"{path}, bench {found['name']}"
        # one model only: it is meant, whatever it was called there
        name = model if len(found["models"]) > 1 else None
        chosen = _pick(found["models"], name, "model", there)
        thresholds = tuple(
            SetThreshold(
                target_far=float(point["target_far"]),
                threshold=float(point["threshold"]),
                source=f"bench {found['name']}, model {chosen['name']}, {path}",
            )
            for point in chosen["tar_at_far"]
            if point["threshold"] is not None
        )
    except (KeyError, TypeError, ValueError) as error:
        raise FacekdError(
            f"{path} has no thresholds where facekd-eval writes them ({error!r}); name a bench of "
            "pairs, or evaluate again."
        ) from error
    if not thresholds:
        raise FacekdError(
            f"{there}: the model {chosen['name']!r} has no threshold at any FAR; set it on a bench "
            "with enough impostor pairs."
        )
    return thresholds


def apply_thresholds(
    ranked: SortedScores, thresholds: Iterable[SetThreshold]
) -> tuple[TransferredPoint, ...]:
    """The FAR and TAR that thresholds set elsewhere have on these scores, with their intervals."""
    points = []
    genuine, impostors = len(ranked.genuine), ranked.impostors
    for known in thresholds:
        false_accepts = int(ranked.false_accepts(known.threshold))
        true_accepts = int(ranked.true_accepts(known.threshold))
        points.append(
            TransferredPoint(
                source=known.source,
                target_far=known.target_far,
                threshold=known.threshold,
                far=false_accepts / impostors,
                far_interval=clopper_pearson(false_accepts, impostors),
                false_accepts=false_accepts,
                tar=true_accepts / genuine,
                tar_interval=clopper_pearson(true_accepts, genuine),
            )
        )
    return tuple(points)


def _read_benches(path: Path) -> list[dict[str, Any]]:
    """The benches of a results.json, after checking that it is one."""
    try:
        check_input(path, MAX_JSON)
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FacekdError(f"cannot read {path}: {reason}; give a results.json.") from error
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FacekdError(f"{path} is not JSON ({error}); give a results.json.") from error
    if not isinstance(values, dict) or not isinstance(values.get("benches"), list):
        raise FacekdError(f"{path} has no benches; give a results.json that facekd-eval wrote.")
    if values.get("format") not in FORMATS:
        known = " and ".join(map(str, FORMATS))
        raise FacekdError(
            f"{path} has format {values.get('format')!r} and this facekd reads {known}; evaluate "
            "again with this facekd."
        )
    benches: list[dict[str, Any]] = values["benches"]
    return benches


def _pick(entries: list[dict[str, Any]], name: str | None, kind: str, where: str) -> dict[str, Any]:
    """The entry of that name, or the only one where no name is given."""
    names = [entry["name"] for entry in entries]
    return entries[names.index(pick_name(names, name, kind, where))]


def pick_name(names: Sequence[str], name: str | None, kind: str, where: str) -> str:
    """The name asked for, or the only one where none is.

    Args:
        names: Those there are.
        name: The one asked for.
        kind: What bears it, for the error.
        where: Where they stand, for the error.

    Raises:
        FacekdError: There is no such name, or several and none is asked for.
    """
    if name is None and len(names) == 1:
        return names[0]
    if name is not None and name in names:
        return name
    has = ", ".join(map(repr, names)) or "none at all"
    wanted = f"there is no {kind} {name!r}" if name else f"it is not said which {kind} is meant"
    raise FacekdError(f"{where}: {wanted}; name one of those it has: {has}.")
