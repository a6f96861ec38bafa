"""Judging a finished run: every verification set of the study, by facekd.eval's own numbers."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facekd.data_tools.pairs import Images, PairSet
from facekd.errors import FacekdError
from facekd.eval.benchmarks import data_folder, find_bench
from facekd.eval.embed import image_sizes, score_pairs
from facekd.eval.evaluate import trials_of
from facekd.eval.results import BenchResult, ModelResult
from facekd.eval.saved_scores import read_scores_file, write_scores
from facekd.eval.trials import Trials
from facekd.eval.verification import Questions, Verification, verify
from facekd.eval.words import percent
from facekd.fingerprint import fingerprint
from facekd.model import load_model
from facekd.study.class_bench import class_words, judge_classes
from facekd.study.file import Study, StudyBench
from facekd.study.jobs import Job
from facekd.study.judged import Judged, pack, written
from facekd.train.build import pick_device
from facekd.train.stage_plan import StagePlan
from facekd.train.validate import HOLDOUT

FARS = (1e-2, 1e-3)


class Benches:
    """The verification sets of a study, each read once.

    Args:
        study: The study.
    """

    def __init__(self, study: Study) -> None:
        self.wanted = study.bench
        self._read: dict[tuple[str, str], PairSet] = {}

    def pairs(self, name: str, plan: StagePlan) -> PairSet:
        """The pairs of a set, for a stage's input and with its people held back.

        Raises:
            FacekdError: It cannot be read, nobody is held back, or accuracy has no folds on it.
        """
        bench = self.wanted[name]
        held = plan.holdout.fingerprint if plan.holdout else ""
        key = (name, f"{plan.input_size} {held}")
        if key not in self._read:
            pairs = _cut(_load(name, bench, plan), bench)
            if pairs.folds is None:
                raise FacekdError(f"bench {name!r}: its pairs have no folds, so no accuracy.")
            trials_of(pairs)
            self._read[key] = pairs
        return self._read[key]

    def described(self, plan: StagePlan) -> dict[str, str]:
        """What each set is, in words that no machine's path is in; part of a run's settings."""
        if plan.classes:
            return {name: class_words(name, bench, plan) for name, bench in self.wanted.items()}
        return {name: self._words(name, plan) for name in self.wanted}

    def _words(self, name: str, plan: StagePlan) -> str:
        pairs = self.pairs(name, plan)
        which = [pairs.left.tobytes(), pairs.right.tobytes(), pairs.same.tobytes()]
        mark = fingerprint([pairs.fingerprint, *which])
        flip = "flip sum" if self.wanted[name].flip else "no flip"
        return f"{len(pairs)} pairs, {flip}, {mark}"


def judge(job: Job, method: str, benches: Benches, folder: Path) -> dict[str, Judged]:
    """Judge a finished network on every set, and keep the scores of pairs.

    Args:
        job: Finished.
        method: What the scores are called.
        benches: The sets.
        folder: Where the scores go, `<folder>/<bench>.npz`.

    Raises:
        FacekdError: An image does not decode, or the disk is full.
    """
    if job.plan.classes:
        return {name: judge_classes(job, bench) for name, bench in benches.wanted.items()}
    model = load_model(job.model_path, device=pick_device(job.plan.stage))
    found = {}
    for name, bench in benches.wanted.items():
        pairs = benches.pairs(name, job.plan)
        trials = Trials(pairs.same, pairs.folds)
        numbers = verify(score_pairs(pairs, model, flip=bench.flip), trials, Questions(FARS))
        told = f"cosine of two embeddings, {'flip sum' if bench.flip else 'without flip'}"
        size = image_sizes(pairs.images, model)
        judged = ModelResult(method, str(job.model_path), size, numbers, told)
        result = bench_result(name, pairs.source, len(pairs.images), [judged], method)
        write_scores(result, scores_path(folder, name))
        accuracy = None if numbers.accuracy is None else numbers.accuracy.mean
        found[name] = Judged(_columns(numbers), f"{percent(accuracy)} %")
    return found


def bench_result(
    name: str, source: str, images: int, models: list[ModelResult], baseline: str
) -> BenchResult:
    """Some networks' numbers on one of the sets."""
    folds = {
        len(m.numbers.accuracy.per_fold)
        for m in models
        if isinstance(m.numbers, Verification) and m.numbers.accuracy is not None
    }
    return BenchResult(
        name, source, "pairs", images, tuple(models), baseline, folds=max(folds, default=None)
    )


def scores_path(folder: Path, bench: str) -> Path:
    """Where the scores of a set lie."""
    return folder / f"{bench}.npz"


def read_judged(path: Path) -> Verification:
    """The numbers again, from kept scores.

    Raises:
        FacekdError: They cannot be read.
    """
    saved = read_scores_file(path, folds=0)
    if saved.trials is None or not saved.scores:
        raise FacekdError(f"{path} holds no scores of listed pairs; delete it.")
    return verify(saved.scores[0], saved.trials, Questions(FARS))


def _columns(numbers: Verification) -> dict[str, str]:
    """The columns of a run's row that are about one set; rates as fractions.

    `correct` is one bit a pair, in their order: judged rightly by the threshold of the other
    folds. With it two runs can be compared pair by pair from the table alone.
    """
    accuracy = numbers.accuracy
    assert accuracy is not None
    low, high = accuracy.interval
    values: dict[str, float | None] = {
        "accuracy": accuracy.mean,
        "accuracy_low": low,
        "accuracy_high": high,
        "fold_std": accuracy.fold_std,
        "auc": numbers.auc,
        "eer": numbers.eer,
    }
    for point in numbers.points:
        ends = point.interval or (None, None)
        for suffix, value in zip(("", "_low", "_high"), (point.tar, *ends), strict=True):
            values[f"tar_at_{point.target_far:g}{suffix}"] = value
    return written(values) | {"correct": pack(accuracy.correct)}


def _load(name: str, bench: StudyBench, plan: StagePlan) -> PairSet:
    source = bench.source or name
    if source == HOLDOUT:
        if plan.holdout is None:
            raise FacekdError(
                f"bench {name!r} is of the people held back, and nobody is; set data.holdout in "
                "the recipe, or in the study's `set`, to a number of people."
            )
        pairs = plan.holdout.pairs(bench.draw, seed=0, name=name)
        return replace(pairs, fingerprint=plan.holdout.fingerprint)
    return replace(find_bench(source, data_folder()).load_pairs(plan.input_size), name=name)


@dataclass(frozen=True)
class _Some:
    """Some of a set's images, by their numbers there."""

    images: Images
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int, /) -> NDArray[np.uint8]:
        return self.images[int(self.rows[index])]


def _cut(pairs: PairSet, bench: StudyBench) -> PairSet:
    """The pairs asked for, with their images only."""
    if bench.pairs is None:
        return pairs
    first, last = bench.pairs
    if not first <= last <= len(pairs):
        raise FacekdError(
            f"bench {pairs.name!r}: pairs: [{first}, {last}] is no range of its {len(pairs)} "
            "pairs, counted from 1."
        )
    part = slice(first - 1, last)
    both = np.concatenate([pairs.left[part], pairs.right[part]])
    rows, places = np.unique(both, return_inverse=True)
    left, right = places.reshape(2, -1).astype(np.int64)
    return PairSet(
        name=pairs.name,
        images=_Some(pairs.images, rows),
        left=left,
        right=right,
        same=pairs.same[part],
        folds=None if pairs.folds is None else pairs.folds[part],
        found=None if pairs.found is None else pairs.found[rows],
        source=f"pairs {first} to {last} of {pairs.source}",
        fingerprint=pairs.fingerprint,
    ).check()
