"""Evaluations side by side: models of several reports on the benches that the reports share."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import FacekdError
from .identification import Identification
from .results import BenchResult, Evaluation, ModelResult
from .saved_report import read_report
from .verification import Verification


def read_reports(folders: Sequence[str | Path], baseline: str | None = None) -> Evaluation:
    """The reports of one or several folders as one evaluation.

    A model name that occurs in several folders gets its folder's name in front.

    Args:
        folders: Each written by `facekd-eval --out`.
        baseline: Model the others are compared with; None for the first folder's own.

    Raises:
        FacekdError: As `read_report`; a folder is named twice; the reports differ in protocol, or
            in the pairs of a bench that bears the same name; or a bench has no such baseline.
    """
    paths = [Path(folder) for folder in folders]
    if len({path.resolve() for path in paths}) < len(paths):
        raise FacekdError("--compare names a folder twice; name each report once.")
    read = [read_report(path) for path in paths]
    if len({evaluation.protocol for evaluation in read}) > 1:
        kinds = ", ".join(f"{path}: {e.protocol}" for path, e in zip(paths, read, strict=True))
        raise FacekdError(
            f"the reports follow different protocols ({kinds}); evaluate one of them again."
        )
    read = _told_apart(read, paths)
    benches: dict[str, tuple[BenchResult, Path]] = {}
    for evaluation, path in zip(read, paths, strict=True):
        for bench in evaluation.benches:
            first = benches.get(bench.name)
            benches[bench.name] = (bench, path) if first is None else _joined(*first, bench, path)
    joined = Evaluation(tuple(bench for bench, _ in benches.values()), read[0].protocol)
    return joined if baseline is None else _with_baseline(joined, baseline)


def _told_apart(read: list[Evaluation], paths: list[Path]) -> list[Evaluation]:
    """Names that several reports use get the folder's in front, its whole path where need be."""
    seen = Counter(
        name for e in read for name in {model.name for b in e.benches for model in b.models}
    )
    folders = [path.resolve().name for path in paths]
    if len(set(folders)) < len(folders):
        folders = [str(path) for path in paths]
    renamed = []
    for evaluation, folder in zip(read, folders, strict=True):
        new = {name: f"{folder}/{name}" for name, count in seen.items() if count > 1}
        benches = (
            replace(
                bench,
                models=tuple(replace(m, name=new.get(m.name, m.name)) for m in bench.models),
                baseline=new.get(bench.baseline, bench.baseline),
            )
            for bench in evaluation.benches
        )
        renamed.append(replace(evaluation, benches=tuple(benches)))
    return renamed


def _with_baseline(evaluation: Evaluation, baseline: str) -> Evaluation:
    for bench in evaluation.benches:
        names = [model.name for model in bench.models]
        if baseline not in names:
            raise FacekdError(
                f"--baseline {baseline} is none of the models on {bench.name}: {', '.join(names)}."
            )
    benches = (replace(bench, baseline=baseline) for bench in evaluation.benches)
    return replace(evaluation, benches=tuple(benches))


def _joined(
    first: BenchResult, first_path: Path, second: BenchResult, path: Path
) -> tuple[BenchResult, Path]:
    images = {first.images, second.images} - {0}  # 0: not known
    if len(images) > 1 or not _same_trials(first.models[0], second.models[0]):
        raise FacekdError(
            f"bench {first.name!r} is not the same in {first_path} and in {path}: other images, "
            "pairs, folds or galleries; evaluate one of them again, or rename its bench."
        )
    return replace(first, models=(*first.models, *second.models)), first_path


def _same_trials(first: ModelResult, second: ModelResult) -> bool:
    one, two = first.numbers, second.numbers
    if isinstance(one, Identification) or isinstance(two, Identification):
        return _enrolled(one) == _enrolled(two)
    if one.trials is None or two.trials is None:
        counts = [(len(n.ranked.genuine), n.ranked.impostors, n.trials is None) for n in (one, two)]
        return counts[0] == counts[1]
    if not np.array_equal(one.trials.same, two.trials.same):
        return False
    a, b = one.trials.folds, two.trials.folds
    return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))


def _enrolled(numbers: Verification | Identification) -> object:
    """How many are enrolled and looked for in each gallery; None for 1:1."""
    if isinstance(numbers, Verification):
        return None
    return [(g.name, g.subjects, g.mated, g.non_mated) for g in numbers.galleries]
