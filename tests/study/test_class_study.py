"""A study of classification stages: rows with top-1, paired image by image, a table without ROC."""

import csv
import json

import numpy as np
import pytest
from tiny_classes import CLASSES, write_classes
from tiny_runs import write_recipe

from facekd.cli.train import main
from facekd.eval.intervals import wilson
from facekd.study.judged import unpack

STAGES = {
    "teacher": {},
    "alone": {},
    "taught": {"teacher": "teacher", "loss": {"preset": "kdth", "beta": 1.0}},
}
STUDY = {
    "description": "classes",
    "recipe": "mine.yaml",
    "seeds": [0, 1],
    "shared": ["teacher"],
    "bench": {"val": None, "mixed": {"source": "val", "teacher_head": 0.5}},
    "methods": {"alone": None, "taught": None},
}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    source = write_classes(folder / "set")
    common = {**CLASSES, "loss": "softmax", "schedule": {"epochs": 3}}
    write_recipe(folder, STAGES, data={"source": str(source)}, common=common)
    path = folder / "grid.yaml"
    path.write_text(json.dumps({**STUDY, "runs": str(folder / "runs")}))
    assert main(["--study", str(path)]) == 0
    return path


def read(path):
    with path.with_suffix(".csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_and_table(study, capsys):
    rows = read(study)
    assert [(row["method"], row["seed"]) for row in rows] == [
        ("alone", "0"),
        ("taught", "0"),
        ("alone", "1"),
        ("taught", "1"),
    ]
    for row in rows:
        bits = unpack(row["val_correct"])
        assert len(bits) == 24
        assert float(row["val_accuracy"]) == pytest.approx(bits.mean(), abs=1e-6)
        ends = [float(row[f"val_accuracy_{end}"]) for end in ("low", "high")]
        assert ends == pytest.approx(wilson(int(bits.sum()), 24), abs=1e-6)
        assert float(row["val_top5"]) >= float(row["val_accuracy"])
        assert "24 images of 6 classes" in json.loads(row["settings"])["benches"]["val"]
        alike = row["val_head_cosine"]
        assert (alike != "") == (row["method"] == "taught")
        mixed = json.loads(row["settings"])["benches"]["mixed"]
        assert "0.5 of the teacher's head where the loss reads it" in mixed
        if row["method"] == "alone":  # no such head: judged by its own
            assert row["mixed_correct"] == row["val_correct"]
    assert main(["--study", str(study), "--table"]) == 0
    capsys.readouterr()
    text = study.with_name("grid-table.md").read_text()
    assert "top-5" in text
    assert "TAR" not in text
    assert "EER" not in text
    assert "on the same images" in text
    assert "ROC" not in text
    by = {(row["method"], row["seed"]): unpack(row["val_correct"]) for row in rows}
    gain = np.mean([by["taught", s].mean() - by["alone", s].mean() for s in "01"])
    assert f"{100 * gain:+.2f}" in text
    assert study.with_name("grid-bars.svg").is_file()
    assert not study.with_name("grid-roc.svg").exists()


def test_done_is_done(study):
    before = study.with_suffix(".csv").read_bytes()
    assert main(["--study", str(study)]) == 0
    assert study.with_suffix(".csv").read_bytes() == before


def test_another_bench_is_refused(study, capsys):
    assert main(["--study", str(study), "study.bench={lfw: {}}", "--check"]) == 2
    told = capsys.readouterr().err
    assert "judged on their validation images; use source: val" in told
