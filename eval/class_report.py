"""Classifiers side by side: a table, and the report's files."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files import write_text
from . import draw_confusion
from .classification import Classification, Rate
from .compare import PairedDifference, paired
from .environment import environment
from .figures import write_figure
from .table import Table, as_markdown
from .words import NONE, percent, percent_interval

_FORMAT = 1


@dataclass(frozen=True)
class ClassResult:
    """One model's numbers.

    Attributes:
        name: What it is called.
        numbers: What it says of the images.
        told: How its classes are read off, in words.
        heads: How alike its head and its teacher's are (`facekd.heads.compare`); None: not known.
    """

    name: str
    numbers: Classification
    told: str = ""
    heads: dict[str, float] | None = field(default=None)


def class_table(results: Sequence[ClassResult]) -> Table:
    """A row a model, in percent; differences are to the first."""
    head = (
        "model",
        "read by",
        "top-1",
        "95 % interval",
        "top-5",
        "mean of classes",
        "minus first",
        "95 % interval",
        "p (McNemar)",
        "heads' cosine",
    )
    first = results[0]
    rows = tuple(_row(result, None if result is first else first) for result in results)
    return Table(f"{len(first.numbers.labels)} images of {_classes(first)}, %", head, rows)


def _row(result: ClassResult, first: ClassResult | None) -> tuple[str, ...]:
    numbers, heads = result.numbers, result.heads
    against = _against(result, first)
    return (
        result.name,
        result.told,
        percent(numbers.top1.value),
        percent_interval(numbers.top1.interval),
        percent(numbers.top5.value) if numbers.top5 else NONE,
        percent(numbers.mean_per_class),
        f"{100 * against.difference:+.2f}" if against else NONE,
        percent_interval(against.interval) if against else NONE,
        f"{against.p_value:.3g}" if against else NONE,
        f"{heads['cosine_mean']:.3f}" if heads else NONE,
    )


def write_class_report(
    results: Sequence[ClassResult], source: str, folder: Path, *, figures: bool = True
) -> list[Path]:
    """Write everything into a folder, each file atomically.

    `results.json` (format 1: environment, source, classes, and of each model top-1 and top-5 with
    Wilson's 95 % interval, the difference to the first model with Bonett and Price's, each class's
    rate, the confusion matrix as rows of counts, the heads' likeness), `results.md`,
    `classes.csv` (a row a model and class), and where figures are wanted `confusion-MODEL` as png
    and svg.

    Args:
        results: Of one set of images; one at least.
        source: What the images are, in words.
        folder: Where they go; made if it is not there.
        figures: Draw the confusion matrices.

    Returns:
        The files.
    """
    content = {
        "format": _FORMAT,
        "environment": environment(),
        "source": source,
        "classes": list(results[0].numbers.names),
        "models": [_as_json(r, None if r is results[0] else results[0]) for r in results],
    }
    texts = {
        "results.json": json.dumps(content, indent=1, allow_nan=False) + "\n",
        "results.md": as_markdown(class_table(results)) + "\n",
        "classes.csv": _csv(results),
    }
    for name, text in texts.items():
        write_text(folder / name, text)
    written = [folder / name for name in texts]
    for result in results if figures else ():
        stem = folder / f"confusion-{result.name}"
        size = draw_confusion.size(result.numbers)

        def draw(figure: Any, result: ClassResult = result) -> None:
            draw_confusion.draw(figure, result.numbers, result.name)

        written += write_figure(size, draw, stem, ("png", "svg"))
    return written


def _classes(result: ClassResult) -> str:
    return f"{len(result.numbers.names)} classes"


def _against(result: ClassResult, first: ClassResult | None) -> PairedDifference | None:
    return None if first is None else paired(first.numbers.correct, result.numbers.correct)


def _rate(rate: Rate | None) -> dict[str, Any] | None:
    if rate is None:
        return None
    return {
        "value": rate.value,
        "interval": rate.interval,
        "hits": rate.hits,
        "images": rate.images,
    }


def _as_json(result: ClassResult, first: ClassResult | None) -> dict[str, Any]:
    numbers, against = result.numbers, _against(result, first)
    difference = None
    if against is not None and first is not None:
        difference = {
            "to": first.name,
            "value": against.difference,
            "interval": against.interval,
            "p_value": against.p_value,
        }
    return {
        "name": result.name,
        "read_by": result.told,
        "top1": _rate(numbers.top1),
        "top5": _rate(numbers.top5),
        "mean_per_class": numbers.mean_per_class,
        "difference": difference,
        "heads": result.heads,
        "per_class": [_rate(rate) for rate in numbers.per_class],
        "confusion": numbers.confusion.tolist(),
    }


def _csv(results: Sequence[ClassResult]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["model", "class", "images", "hits", "rate", "low", "high", "taken_for"])
    for result in results:
        numbers = result.numbers
        for name, rate, row in zip(
            numbers.names, numbers.per_class, numbers.confusion, strict=True
        ):
            low, high = rate.interval or ("", "")
            value = "" if rate.value is None else f"{rate.value:.6f}"
            ends = [f"{end:.6f}" if end != "" else "" for end in (low, high)]
            others = row.copy()
            others[numbers.names.index(name)] = 0
            most = numbers.names[int(others.argmax())] if others.any() else ""
            writer.writerow([result.name, name, rate.images, rate.hits, value, *ends, most])
    return text.getvalue()
