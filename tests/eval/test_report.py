import csv
import json

import cv2
import numpy as np
import pytest

from facekd.eval.report import write_report
from facekd.eval.results import BenchResult, Evaluation, ModelResult, as_json
from facekd.eval.tables import as_latex, as_markdown, as_text, far_name, tables
from facekd.eval.verification import verify


def made(benches=("lfw", "a_b"), models=("teacher", "50%_net"), pairs=2000):
    rng = np.random.default_rng(0)
    same, folds = np.arange(pairs) % 2 == 0, np.arange(pairs) * 10 // pairs

    def numbers(strength):
        return verify(np.tanh(rng.normal(size=pairs) / 4 + strength * same), same, folds)

    return Evaluation(
        benches=tuple(
            BenchResult(
                name=bench,
                source=f"{bench}.bin",
                images=2 * pairs,
                folds=10,
                models=tuple(
                    ModelResult(name, f"{name}.pt", "112x112", numbers(1 - 0.3 * i))
                    for i, name in enumerate(models)
                ),
                baseline=models[0],
            )
            for bench in benches
        ),
        flip=True,
        protocol="exact",
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    evaluation = made()
    folder = tmp_path_factory.mktemp("report")
    return evaluation, folder, write_report(evaluation, folder)


def test_every_file_promised_is_there_and_nothing_else(report):
    _, folder, written = report
    names = ["results.json", "results.csv", "results.md", "results.tex", "roc.png", "roc.pdf"]
    names += ["scores/lfw.npz", "scores/a_b.npz"]
    assert [path.relative_to(folder).as_posix() for path in written] == names
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)


def test_json_holds_the_numbers_and_the_protocol(report):
    evaluation, folder, _ = report
    got = json.loads((folder / "results.json").read_text())
    assert got["format"] == 1
    assert got["protocol"]["flip"] is True
    assert got["protocol"]["far_rule"] == "the largest TAR whose FAR <= target"
    bench = got["benches"][0]
    assert (bench["pairs"], bench["genuine"], bench["impostors"]) == (2000, 1000, 1000)
    numbers = evaluation.benches[0].models[1].numbers
    model = bench["models"][1]
    assert model["accuracy"]["mean"] == numbers.accuracy.mean
    assert len(model["accuracy"]["thresholds"]) == 10
    at = {point["target_far"]: point for point in model["tar_at_far"]}
    assert at[1e-2]["tar"] == numbers.point(1e-2).tar
    assert (at[1e-2]["allowed"], at[1e-3]["allowed"], at[1e-4]["allowed"]) == (10, 1, 0)
    assert at[1e-4]["tar"] is None
    assert "not enough impostors" in at[1e-4]["reason"]
    (comparison,) = bench["comparisons"]
    assert comparison["model"] == "50%_net"
    assert comparison["accuracy"]["difference"] < 0


def test_csv_has_one_row_a_bench_and_model_in_fractions(report):
    evaluation, folder, _ = report
    rows = list(csv.DictReader((folder / "results.csv").open()))
    assert [(row["bench"], row["model"]) for row in rows[:2]] == [
        ("lfw", "teacher"),
        ("lfw", "50%_net"),
    ]
    numbers = evaluation.benches[0].models[0].numbers
    assert float(rows[0]["accuracy"]) == numbers.accuracy.mean
    assert float(rows[0]["tar@0.001"]) == numbers.point(1e-3).tar
    assert rows[0]["tar@0.0001"] == ""


def test_scores_can_be_read_without_pickle(report):
    evaluation, folder, _ = report
    saved = np.load(folder / "scores/a_b.npz", allow_pickle=False)
    assert saved["models"].tolist() == ["teacher", "50%_net"]
    for row, model in zip(saved["scores"], evaluation.benches[1].models, strict=True):
        np.testing.assert_array_equal(row, model.numbers.scores)
    np.testing.assert_array_equal(saved["same"], evaluation.benches[1].models[0].numbers.same)


def test_the_figure_shows_a_panel_a_bench_and_a_colour_a_model(report):
    _, folder, _ = report
    image = cv2.imread(str(folder / "roc.png"))
    assert image.shape[1] > 2 * image.shape[0] * 0.9  # two panels side by side
    for half in np.array_split(image, 2, axis=1):
        for blue_green_red in ((0xB2, 0x72, 0x00), (0x00, 0x5E, 0xD5)):
            assert (np.abs(half.astype(int) - blue_green_red).max(axis=2) < 8).sum() > 500
    assert (folder / "roc.pdf").read_bytes().startswith(b"%PDF")


def test_text_tables_line_up_and_say_percent_of_what():
    summary, points, differences = tables(made())
    lines = as_text(summary).splitlines()
    assert "accuracy ± fold std" in lines[2]
    assert len(lines) == 8
    n = made().benches[0].models[0].numbers
    assert f"{100 * n.accuracy.mean:.2f} ± {100 * n.accuracy.fold_std:.2f}" in lines[4]
    assert lines[4].endswith("-")  # FAR 1e-4 has no number
    assert "not enough impostors" in as_text(points)
    assert "1 of 1 allowed" in as_text(points)
    assert "50%_net - teacher" in as_text(differences)
    assert len(tables(made(models=("alone",)))) == 2


def test_latex_escapes_names_and_markdown_keeps_its_columns():
    summary = tables(made(models=("50%_net", "a|b")))[0]
    latex = as_latex(summary)
    assert r"a\_b & 50\%\_net & " in latex
    assert r"$\pm$" in latex
    assert latex.count(r"\\") == 5
    body = as_markdown(summary).splitlines()[2:]
    assert len({line.replace(r"\|", "").count("|") for line in body}) == 1


def test_json_is_the_same_again():
    assert as_json(made()) == as_json(made())


@pytest.mark.parametrize(("far", "name"), [(1e-3, "1e-3"), (0.1, "1e-1"), (2.5e-4, "2.5e-4")])
def test_far_names(far, name):
    assert far_name(far) == name
