"""The files of a report on classifiers, from made-up scores."""

import csv
import json

import numpy as np
import pytest

from facekd.eval import draw_confusion
from facekd.eval.class_report import ClassResult, class_table, write_class_report
from facekd.eval.classification import classify
from facekd.eval.compare import mcnemar
from facekd.eval.figures import write_figure
from facekd.eval.table import as_text


def made(count, n, seed):
    """Scores of n images of `count` classes, right more often than not."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % count
    scores = rng.normal(size=(n, count))
    scores[np.arange(n), labels] += 1.5
    return classify(scores, labels, [f"class {k} $x_{k}$" for k in range(count)])


def test_numbers_are_those_of_slow_counting(tmp_path):
    first, second = made(4, 60, 0), made(4, 60, 1)
    heads = {"cosine_mean": 0.25}
    results = [ClassResult("a", first, "own head"), ClassResult("b", second, "own head", heads)]
    written = write_class_report(results, "drawn", tmp_path, figures=False)
    assert [path.name for path in written] == ["results.json", "results.md", "classes.csv"]
    content = json.loads((tmp_path / "results.json").read_text())
    assert content["format"] == 1
    told = content["models"][1]["difference"]
    right = [list(zip(r.numbers.named, r.numbers.labels, strict=True)) for r in results]
    pairs = list(zip(*([n == t for n, t in each] for each in right), strict=True))
    gained, lost = pairs.count((False, True)), pairs.count((True, False))
    assert told["value"] == pytest.approx((gained - lost) / 60)
    assert told["p_value"] == pytest.approx(mcnemar(gained, lost))
    assert content["models"][0]["top5"] is None
    with (tmp_path / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8
    for row in rows[:4]:
        k = first.names.index(row["class"])
        named = [int(n) for n, t in right[0] if t == k]
        assert int(row["images"]) == 15
        assert int(row["hits"]) == named.count(k)
        others = [named.count(j) if j != k else 0 for j in range(4)]
        assert row["taken_for"] == first.names[others.index(max(others))]
    text = as_text(class_table(results))
    assert "0.250" in text
    assert f"{100 * (gained - lost) / 60:+.2f}" in text


@pytest.mark.parametrize(
    ("count", "named", "numbers"), [(4, 4, True), (30, 30, False), (100, 0, False)]
)
def test_confusion_figure(tmp_path, count, named, numbers):
    result = made(count, 3 * count, 2)
    kept = {}

    def draw(figure):
        draw_confusion.draw(figure, result, "a model")
        kept["axes"] = figure.axes[0]

    files = write_figure(draw_confusion.size(result), draw, tmp_path / "confusion", ("png", "svg"))
    assert all(path.stat().st_size > 1000 for path in files)
    axes = kept["axes"]
    if named:
        assert axes.get_yticklabels()[0].get_text().startswith("class 0")
        assert len(axes.get_yticklabels()) == named
    written = [text for text in axes.texts if text.get_text().isdigit()]
    assert bool(written) == numbers
    if numbers:
        assert len(written) == np.count_nonzero(result.confusion)
    assert max(draw_confusion.size(result)) < 20
