"""What exporting costs: a benchmark before and after, and whether the loss is allowed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from facekd.data_tools.pairs import PairSet
from facekd.errors import FacekdError
from facekd.eval.benchmarks import data_folder, find_bench
from facekd.eval.embed import image_sizes, score_pairs
from facekd.eval.evaluate import kind_of, trials_of
from facekd.eval.operating import FARS
from facekd.eval.results import BenchResult, Evaluation, ModelResult
from facekd.eval.table import Table
from facekd.eval.verification import Questions, verify
from facekd.export.speed import latencies
from facekd.files import in_bytes

if TYPE_CHECKING:
    from facekd.embedder import Embedder


@dataclass(frozen=True)
class Gate:
    """A benchmark, and how much accuracy may be lost on it.

    Attributes:
        pairs: Its pairs.
        max_drop: Points of accuracy (percent) that may be lost, by the bad end of the paired
            interval; None: nothing is decided.
        flip: Add the mirrored image's embedding.
        workers: Processes that decode images; None: as many as suit.
    """

    pairs: PairSet
    max_drop: float | None = None
    flip: bool = True
    workers: int | None = None


def open_gate(
    bench: str,
    data: str | Path | None,
    input_size: int,
    *,
    max_drop: float | None = None,
    flip: bool = True,
    workers: int | None = None,
) -> Gate:
    """Read a benchmark, as `facekd-eval --bench NAME --data DIR` does; nothing is embedded.

    Raises:
        FacekdError: It is not there, is no list of image pairs, or has no folds while `max_drop`
            asks for accuracy.
    """
    found = find_bench(bench, data_folder(data))
    pairs = found.load(input_size)
    if not isinstance(pairs, PairSet):
        raise FacekdError(
            f"--bench {bench} is no list of image pairs; export with one, such as lfw, and measure "
            "this one with facekd-eval."
        )
    trials = trials_of(pairs)
    if max_drop is not None and (trials is None or trials.folds is None):
        raise FacekdError(
            f"--max-drop is about accuracy, and the pairs of {bench} have no folds; give a bench "
            "that has, such as lfw."
        )
    return Gate(pairs, max_drop, flip, workers)


def judge(gate: Gate, models: Mapping[str, "Embedder"]) -> Evaluation:
    """Score networks on the same pairs.

    Args:
        gate: The benchmark.
        models: By file name; the first is the one the others are compared with.

    Raises:
        FacekdError: An image does not decode, or an embedding is not finite.
    """
    pairs, results = gate.pairs, []
    trials = trials_of(pairs)
    assert trials is not None
    flip = "with the mirrored image's embedding added" if gate.flip else "without flip"
    for name, model in models.items():
        title = f"{pairs.name}, {name}"
        scores = score_pairs(pairs, model, flip=gate.flip, workers=gate.workers, progress=title)
        numbers = verify(scores, trials, Questions(FARS))
        size, how = image_sizes(pairs.images, model), f"cosine of two embeddings, {flip}"
        results.append(ModelResult(name, name, size, numbers, how))
    bench = BenchResult(
        name=pairs.name,
        source=pairs.source,
        kind=kind_of(pairs),
        images=len(pairs.images),
        models=tuple(results),
        baseline=results[0].name,
        folds=None if trials.folds is None else len(set(trials.folds.tolist())),
    )
    return Evaluation((bench,), "exact")


def decide(evaluation: Evaluation, max_drop: float) -> list[str]:
    """Compare the most that each file may have lost with what is allowed.

    Args:
        evaluation: From `judge`.
        max_drop: Points of accuracy.

    Returns:
        One sentence a file.

    Raises:
        FacekdError: One may have lost more.
    """
    told = []
    for name, comparison in evaluation.benches[0].comparisons():
        assert comparison.accuracy is not None
        low, high = (100 * end for end in comparison.accuracy.interval)
        points = f"{100 * comparison.accuracy.difference:+.2f} points [{low:+.2f}, {high:+.2f}]"
        if -low > max_drop:
            raise FacekdError(
                f"{name} changes accuracy by {points}: it may lose {-low:.2f} points, and "
                f"--max-drop allows {max_drop:g}; nothing was written. Calibrate on more or other "
                "images, measure on more pairs, or leave this file out."
            )
        told.append(
            f"{name} changes accuracy by {points}: it loses at most {max(-low, 0):.2f} points, "
            f"{max_drop:g} are allowed."
        )
    return told


def size_and_speed(files: Sequence[tuple[str, Path]], input_size: int) -> Table:
    """Bytes and time of ONNX files; the first is the one the others are compared with.

    Args:
        files: Names and places.
        input_size: Side of the input, pixels.
    """
    sizes = [path.stat().st_size for _, path in files]
    times = latencies([path for _, path in files], input_size)
    rows = tuple(
        (
            name,
            in_bytes(size),
            f"{sizes[0] / size:.2f} x",
            f"{1e3 * t:.2f}",
            f"{times[0] / t:.2f} x",
        )
        for (name, _), size, t in zip(files, sizes, times, strict=True)
    )
    head = ("file", "size", "smaller", "ms", "faster")
    title = "Size, and median time of one image (onnxruntime, CPU, one thread, files in turns)"
    return Table(title, head, rows, words=1)
