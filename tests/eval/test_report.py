import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import cv2
import numpy as np
import pytest
from made_reports import HOSTILE, hostile, pairs_bench, rich, search_bench

from facekd.eval.bootstrap import SubjectBootstrap
from facekd.eval.plain import as_json
from facekd.eval.report import write_report
from facekd.eval.results import Evaluation
from facekd.eval.saved_scores import score_files
from facekd.eval.table import Table, as_html, as_latex, as_markdown, as_text
from facekd.eval.tables import notes, tables
from facekd.eval.words import far_name, fraction, shorten

MODELS = ("teacher", "50%_net")


def made(benches=("lfw", "a_b"), models=MODELS):
    return Evaluation(tuple(pairs_bench(name, models) for name in benches), "exact")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    evaluation = made()
    folder = tmp_path_factory.mktemp("report")
    return evaluation, folder, write_report(evaluation, folder)


@pytest.fixture(scope="module")
def rich_report(tmp_path_factory):
    evaluation = rich()
    folder = tmp_path_factory.mktemp("rich")
    return evaluation, folder, write_report(evaluation, folder)


def names_of(written, folder):
    return {path.relative_to(folder).as_posix() for path in written}


def test_every_file_promised_is_there_and_nothing_else(report):
    _, folder, written = report
    names = {"results.json", "results.csv", "results.md", "results.tex", "report.html"}
    names |= {f"{figure}.{kind}" for figure in ("roc", "det") for kind in ("png", "pdf", "svg")}
    names |= {"histogram.png", "histogram.svg", "scores/lfw.npz", "scores/a_b.npz"}
    assert names_of(written, folder) == names
    assert {path for path in folder.rglob("*") if path.is_file()} == set(written)


def test_figures_for_groups_and_quality_where_there_are_any(rich_report):
    _, folder, written = rich_report
    names = names_of(written, folder)
    assert {"groups.png", "groups.pdf", "groups.svg", "reject.png", "reject.svg"} <= names
    assert {"scores/lfw.npz", "scores/rfw.npz", "scores/own.npz"} <= names
    assert "scores/ijbc-1n.npz" not in names


def test_without_figures_nothing_is_drawn(tmp_path):
    written = write_report(made(("lfw",)), tmp_path, figures=False)
    texts = {"results.json", "results.csv", "results.md", "results.tex"}
    assert names_of(written, tmp_path) == texts | {"scores/lfw.npz"}


def test_a_folder_never_shows_two_evaluations(tmp_path):
    (tmp_path / "mine.png").write_bytes(b"not a report's file")
    write_report(Evaluation((pairs_bench("rfw", ("m",), groups=("a", "b")),), "exact"), tmp_path)
    assert (tmp_path / "groups.png").is_file()
    write_report(made(("lfw",)), tmp_path)
    assert not (tmp_path / "groups.png").exists()
    write_report(made(("lfw",)), tmp_path, figures=False)
    left = {path.name for path in tmp_path.iterdir()}
    assert {"mine.png", "results.json"} <= left
    assert not left & {"roc.png", "det.svg", "report.html"}


def test_an_evaluation_of_1n_alone_has_a_page_without_figures(tmp_path):
    written = write_report(Evaluation((search_bench("ijbc-1n", MODELS),), "exact"), tmp_path)
    texts = {"results.json", "results.csv", "results.md", "results.tex", "report.html"}
    assert names_of(written, tmp_path) == texts
    page = (tmp_path / "report.html").read_text()
    assert "Identification, %" in page
    assert "<figure>" not in page


def test_json_holds_the_numbers_and_the_protocol(report):
    evaluation, folder, _ = report
    got = json.loads((folder / "results.json").read_text())
    assert got["format"] == 2
    assert {"facekd", "python", "numpy", "machine", "date"} <= set(got["environment"])
    assert got["protocol"]["name"] == "exact"
    assert got["protocol"]["far_rule"] == "TAR is the largest whose FAR <= target"
    bench = got["benches"][0]
    assert (bench["kind"], bench["genuine"], bench["impostors"]) == ("pairs", 1000, 1000)
    assert bench["scores"] == "scores/lfw.npz"
    numbers = evaluation.benches[0].models[1].numbers
    model = bench["models"][1]
    assert model["accuracy"]["mean"] == numbers.accuracy.mean
    assert len(model["accuracy"]["thresholds"]) == 10
    assert model["min_dcf"]["value"] == numbers.min_dcf.value
    at = {point["target_far"]: point for point in model["tar_at_far"]}
    assert at[1e-2]["tar"] == numbers.point(1e-2).tar
    assert at[1e-2]["fnmr"] == 1 - numbers.point(1e-2).tar
    assert tuple(at[1e-2]["far_interval"]) == numbers.point(1e-2).far_interval
    assert at[1e-2]["rule"] == "strict"
    assert (at[1e-2]["allowed"], at[1e-3]["allowed"], at[1e-4]["allowed"]) == (10, 1, 0)
    assert at[1e-4]["tar"] is None
    assert "not enough impostors" in at[1e-4]["reason"]
    (comparison,) = bench["comparisons"]
    assert comparison["model"] == "50%_net"
    assert comparison["accuracy"]["difference"] < 0


def test_json_of_everything_else(rich_report):
    evaluation, folder, _ = rich_report
    lfw, rfw, search, own = json.loads((folder / "results.json").read_text())["benches"]
    numbers = evaluation.benches[0].models[0].numbers
    model = lfw["models"][0]
    assert model["bootstrap"]["subjects_from"] == "pairs.txt"
    assert tuple(model["bootstrap"]["accuracy"]) == numbers.bootstrap.accuracy
    assert model["transferred"][0]["far"] == numbers.transferred[0].far
    assert model["quality"]["fnmr"] == numbers.quality.fnmr.tolist()
    at_one_percent = rfw["models"][0]["groups"][1]
    assert [rate["group"] for rate in at_one_percent["rates"]] == ["$b$", "<a>", "c & d"]
    assert at_one_percent["outside"] > 0
    assert search["models"][0]["identification"]["galleries"][1]["name"] == "G2"
    assert (search["genuine"], search["not_found"], search["scores"]) == (None, 7, None)
    assert own["models"][0]["accuracy"] is None
    assert own["comparisons"] == []


def test_csv_has_one_row_a_bench_and_model_in_fractions(rich_report):
    evaluation, folder, _ = rich_report
    rows = list(csv.DictReader((folder / "results.csv").open()))
    assert len(rows) == 12
    assert [(row["bench"], row["model"]) for row in rows[:2]] == [
        ("lfw", "teacher"),
        ("lfw", "student"),
    ]
    numbers = evaluation.benches[0].models[0].numbers
    assert float(rows[0]["accuracy"]) == numbers.accuracy.mean
    assert float(rows[0]["tar@0.001"]) == numbers.point(1e-3).tar
    assert rows[0]["tar@0.0001"] == ""
    assert (rows[6]["rank1:G2"], rows[6]["tar@0.001"]) == ("0.905", "")


def test_scores_can_be_read_without_pickle(report):
    evaluation, folder, _ = report
    saved = np.load(folder / "scores/a_b.npz", allow_pickle=False)
    assert saved["models"].tolist() == list(MODELS)
    assert saved["scores"].dtype == np.float32
    for row, model in zip(saved["scores"], evaluation.benches[1].models, strict=True):
        np.testing.assert_array_equal(row, model.numbers.scores)
    trials = evaluation.benches[1].models[0].numbers.trials
    np.testing.assert_array_equal(saved["same"], trials.same)
    np.testing.assert_array_equal(saved["folds"], trials.folds)


def test_the_figure_shows_a_panel_a_bench_and_a_colour_a_model(report):
    _, folder, _ = report
    for name in ("roc.png", "det.png", "histogram.png"):
        image = cv2.imread(str(folder / name))
        assert image.shape[1] > 1.5 * image.shape[0]  # two panels side by side
        for half in np.array_split(image, 2, axis=1):
            for blue_green_red in ((0xB2, 0x72, 0x00), (0x00, 0x5E, 0xD5)):
                assert (np.abs(half.astype(int) - blue_green_red).max(axis=2) < 8).sum() > 400
    for name in ("roc.pdf", "det.pdf"):
        assert (folder / name).read_bytes().startswith(b"%PDF")
    for name in ("roc.svg", "det.svg", "histogram.svg"):
        assert ElementTree.parse(folder / name).getroot().tag.endswith("svg")


def test_names_that_mean_something_elsewhere_do_no_harm(tmp_path):
    evaluation = hostile()
    written = write_report(evaluation, tmp_path)
    assert all(tmp_path in path.resolve().parents for path in written)
    page = (tmp_path / "report.html").read_text()
    for raw in ("<script", "<b>", "<i>", "<a>", "url(http", "src=", "http:", "https:"):
        assert raw not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert page.count("a&amp;b") > 5
    ids = [part.split('"')[0] for part in page.split(' id="')[1:]]
    assert len(ids) == len(set(ids)) > 0
    assert len(page) < 1_000_000
    assert "<script" not in (tmp_path / "results.md").read_text()
    latex = (tmp_path / "results.tex").read_text()
    assert r"\_under|bar \textbackslash{} \{\%\}\#\textasciitilde{}\textasciicircum{}" in latex


def test_score_files_have_names_that_any_file_system_takes():
    names = ("A b", "a_b", "a/b", "..", "é", "x" * 300)
    files = score_files(Evaluation(tuple(pairs_bench(n, ("m",), 40) for n in names), "exact"))
    stems = [files[name].removeprefix("scores/").removesuffix(".npz") for name in names]
    assert stems == ["A_b", "a_b-2", "a_b-3", "bench", "bench-2", "x" * 80]


def test_text_tables_line_up_and_say_percent_of_what():
    evaluation = made()
    summary, points, differences = tables(evaluation)
    lines = as_text(summary).splitlines()
    assert "accuracy ± fold std" in lines[2]
    assert len(lines) == 8
    n = evaluation.benches[0].models[0].numbers
    assert f"{100 * n.accuracy.mean:.2f} ± {100 * n.accuracy.fold_std:.2f}" in lines[4]
    assert lines[4].endswith("-")  # FAR 1e-4 has no number
    assert "not enough impostors" in as_text(points)
    assert "1 of 1 allowed" in as_text(points)
    assert "50%_net - teacher" in as_text(differences)
    assert len(tables(made(models=("alone",)))) == 2


def test_tables_of_a_rich_evaluation():
    titles = {table.title.split(" (")[0]: table for table in tables(rich())}
    assert list(titles) == [
        "Verification, %",
        "Identification, %",
        "Operating points",
        "Identification with intervals",
        "How sure the numbers are when people are drawn anew, %",
        "Differences on the same pairs, in points",
        "Thresholds set elsewhere, applied here",
        "Groups at one common threshold",
    ]
    summary = titles["Verification, %"]
    assert summary.head[-5:] == ("1e-1", "1e-2", "1e-3", "1e-4", "1e-5")
    own = next(row for row in summary.rows if row[0] == "own")
    assert own[2:4] == ("-", "-")  # no folds, no accuracy
    assert own[7] == "-"  # FAR 0.1 was not asked for there
    assert titles["Identification, %"].rows[2][:3] == ("ijbc-1n", "teacher", "mean")
    unknown = [row for row in titles["Identification with intervals"].rows if row[4] == "-"]
    assert {row[5] for row in unknown} == {"not enough non-mated probes"}
    sure = titles["How sure the numbers are when people are drawn anew, %"]
    assert [row[2] for row in sure.rows[:3]] == ["accuracy", "AUC", "EER"]
    groups = titles["Groups at one common threshold"]
    assert {"<a>", "worst / best", "in no group"} <= {row[3] for row in groups.rows}


def test_notes_tell_what_was_measured_and_how():
    lfw, _, search, own, protocol, *more = notes(rich())
    assert lfw.startswith("lfw: pairs, 1,000 genuine and 1,000 impostor pairs, 10 folds, 4,000 ima")
    assert "with the mirrored image's embedding added" in lfw
    assert "no face found in 7 of them (1.4 %): rejected" in search
    assert own.startswith("own: all pairs, 300 genuine and ")
    assert "each gallery alone" in protocol
    assert re.fullmatch(
        r"people: lfw, teacher: \d+ drawn anew 20 times, seed 0 \(pairs\.txt\)\.", more[0]
    )
    assert [line.split(": ")[0] for line in more] == ["people"] * 3 + ["thresholds"] * 3


def test_notes_tell_why_nobody_was_drawn_and_by_which_rule():
    over = SubjectBootstrap(0, 0, 0, "", reason="nobody knows; look.")
    unknown, known = (_with_bootstrap(one) for one in (over, SubjectBootstrap(5, 1, 9, "labels")))
    assert "people: a, m: no interval over people: nobody knows; look." in notes(unknown)
    assert [table.title[:8] for table in tables(unknown)] == ["Verifica", "Operatin"]
    theirs = notes(replace(known, protocol="insightface"))
    assert (
        "people: a, m: 9 drawn anew 5 times, seed 1, thresholds by the strict rule (labels)."
        in (theirs)
    )


def _with_bootstrap(over):
    bench = pairs_bench("a", ("m",))
    model = bench.models[0]
    model = replace(model, numbers=replace(model.numbers, bootstrap=over))
    return Evaluation((replace(bench, models=(model,)),), "exact")


def test_latex_escapes_names_and_markdown_keeps_its_columns():
    summary = tables(made(models=("50%_net", "a|b")))[0]
    latex = as_latex(summary)
    assert r"a\_b & 50\%\_net & " in latex
    assert r"$\pm$" in latex
    assert latex.count(r"\\") == 5
    body = as_markdown(summary).splitlines()[2:]
    assert len({line.replace(r"\|", "").count("|") for line in body}) == 1
    assert "&lt;script&gt;" in as_markdown(Table("t", ("a", "b"), ((HOSTILE[0], "1"),)))


def test_html_tables_escape_and_mark_where_a_bench_starts():
    table = Table("a < b", ("x", "y", "n"), (("1", "<i>", "2"), ("1", "z", "3"), ("&", "z", "4")))
    html = as_html(table)
    assert ElementTree.fromstring(f"<r>{html}</r>").find("h3").text == "a < b"
    assert html.count('<tr class="new">') == 1
    assert '<tr class="new"><th scope="row">&amp;</th>' in html


def test_json_is_the_same_again():
    once, twice = as_json(made(), {}), as_json(made(), {})
    del once["environment"], twice["environment"]
    assert once == twice


@pytest.mark.parametrize(("far", "name"), [(1e-3, "1e-3"), (0.1, "1e-1"), (2.5e-4, "2.5e-4")])
def test_far_names(far, name):
    assert far_name(far) == name


@pytest.mark.parametrize(
    ("rate", "text"), [(0, "0"), (9.999e-4, "1.00e-3"), (0.25, "2.50e-1"), (None, "-")]
)
def test_fractions(rate, text):
    assert fraction(rate) == text


def test_long_names_keep_both_ends():
    assert shorten("0123456789", 10) == "0123456789"
    assert shorten("0123456789x", 10) == "01234…789x"
