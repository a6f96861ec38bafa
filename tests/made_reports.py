"""Evaluations from drawn scores: whatever a report can show, and names that try to break it."""

from dataclasses import replace

import numpy as np

from facekd.eval.identification import (
    GallerySearch,
    Identification,
    OpenSetPoint,
    RankRate,
)
from facekd.eval.results import BenchResult, Evaluation, ModelResult
from facekd.eval.scores import SortedScores
from facekd.eval.transfer import SetThreshold
from facekd.eval.trials import Trials
from facekd.eval.verification import Questions, verify, verify_sorted

HOSTILE = ("<script>alert(1)</script>", 'a&b "$x$" y_', "_under|bar \\ {%}#~^")


def pairs_bench(
    name, models, pairs=2000, *, groups=(), bootstrap=0, thresholds=(), quality=False, **more
):
    """Half of the pairs genuine, ten folds, each model weaker than the one before."""
    rng = np.random.default_rng(len(name))
    same = np.arange(pairs) % 2 == 0
    people = rng.integers(0, pairs // 10, (pairs, 2)).astype(np.int32)
    people[same, 1] = people[same, 0]
    people[~same, 1] = people[~same, 0] + 1
    labels = (
        np.array(groups, dtype=np.str_)[rng.integers(0, len(groups), pairs)] if groups else None
    )
    trials = Trials(
        same=same,
        folds=np.arange(pairs) * 10 // pairs,
        groups=labels,
        subjects=people if bootstrap else None,
        subjects_from="pairs.txt" if bootstrap else "",
    )
    questions = Questions(bootstrap=bootstrap, thresholds=thresholds, **more)
    results = []
    for number, model in enumerate(models):
        cosines = np.tanh(rng.normal(size=pairs) / 4 + (1 - 0.3 * number) * same)
        worth = rng.gamma(9, 2, int(same.sum())).astype(np.float32) if quality else None
        numbers = verify(cosines.astype(np.float32), trials, questions, genuine_quality=worth)
        scored = "cosine, with the mirrored image's embedding added"
        results.append(ModelResult(model, f"{model}.pt", "112x112", numbers, scored))
    return BenchResult(
        name=name,
        source=f"{name}.bin",
        kind="pairs",
        images=2 * pairs,
        models=tuple(results),
        baseline=models[0],
        folds=10,
    )


def search_bench(name, models):
    """A 1:N result of made-up numbers; one open-set point has none."""

    def gallery(letter, number):
        rate = 0.9 - 0.1 * number
        ranks = tuple(RankRate(k, rate + k / 200, (rate, rate + 0.1)) for k in (1, 5, 10))
        few = OpenSetPoint(0.01, None, None, None, None, None, 0, "not enough non-mated probes")
        points = (OpenSetPoint(0.1, rate, (rate - 0.1, rate + 0.1), 0.41, 0.0625, 4, 6), few)
        return GallerySearch(letter, 31, 60, 64, ranks, points)

    def result(model, number):
        found = tuple(gallery(letter, number) for letter in ("G1", "G2"))
        means = tuple(replace(rank, interval=None) for rank in found[0].ranks)
        numbers = Identification(found, means, ((0.1, found[0].points[0].tpir), (0.01, None)))
        return ModelResult(model, f"{model}.npy", "", numbers, "N1 D1 F1: flip sum, norm, detector")

    results = tuple(result(model, number) for number, model in enumerate(models))
    return BenchResult(name, "meta/x.csv", "1:N", 500, results, models[0], not_found=7)


def streamed_bench(name, models):
    """All pairs of a set, streamed: counted impostors, no trials."""
    rng = np.random.default_rng(5)
    results = []
    for number, model in enumerate(models):
        genuine = np.sort(rng.normal(0.6 - 0.1 * number, 0.1, 300)).astype(np.float32)
        impostor = np.sort(rng.normal(0, 0.1, 400)).astype(np.float32)
        ranked = SortedScores(genuine, impostor, np.arange(1, len(impostor) + 1))
        numbers = verify_sorted(ranked, Questions(fars=(1e-2, 1e-3, 1e-5)))
        results.append(ModelResult(model, f"{model}.npy", "", numbers, "cosine"))
    return BenchResult(name, "faces/", "all pairs", 300, tuple(results), models[0])


def rich(models=("teacher", "student", "alone"), names=("lfw", "rfw", "ijbc-1n", "own")):
    """Everything at once: bootstrap, thresholds from elsewhere, groups, quality, 1:N, streamed."""
    known = (SetThreshold(1e-2, 0.5, "bench x, model y, results.json"),)
    return Evaluation(
        benches=(
            pairs_bench(names[0], models, bootstrap=20, thresholds=known, quality=True),
            pairs_bench(names[1], models, pairs=8000, groups=("<a>", "$b$", "c & d", "")),
            search_bench(names[2], models),
            streamed_bench(names[3], models),
        ),
        protocol="exact",
    )


def hostile():
    """The same under names that mean something to HTML, SVG, LaTeX, Markdown or a file system."""
    return rich(
        HOSTILE,
        (
            "../<b>l/f&w</b>",
            '"quoted" $a$',
            "1:N <i>",
            "..",
        ),
    )
