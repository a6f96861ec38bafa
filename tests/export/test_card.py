"""Cards: true, complete, and unmoved by what stands in files."""

import re

import pytest
from eval_command import evaluate
from made_networks import drawn
from made_reports import HOSTILE

from facekd.cli.model import main
from facekd.errors import FacekdError
from facekd.eval.table import Table
from facekd.export.card import card
from facekd.export.licences import DRAWN, Licences, parts_table
from facekd.export.markdown import LONGEST, markdown_table, plain
from facekd.export.report import measured_in

HEADINGS = ["Network", "Training", "Results", "Groups", "Use and limits", "Licences"]
RECIPE = {
    "data": {"source": ["/home/me/faces/ms1m.rec", "none"], "unlabelled": "crawl/"},
    "loss": [{"term": "margin", "weight": 1.0, "margin": "arcface"}, {"term": "l2e", "weight": 2}],
    "teacher": {"model": "/srv/teachers/w600k_r50.onnx"},
    "start_from": "/old/mbf.pt",
    "schedule": {"epochs": 20},
    "batch_size": 128,
}


def described(**about):
    model = drawn()
    model.name = "student"
    model.description |= about
    return model


def rows(text, head):
    """The rows of the table with that head."""
    _, _, after = text.partition(f"| {head} |")
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in after.split("\n\n")[0].splitlines()[2:]
    ]


def test_a_card_tells_of_training_and_licences():
    model = described(run="mine", stage="student", recipe=RECIPE, label_map_hash="abc")
    text = card(model, licences=Licences(data="research only"))
    assert re.findall(r"^## (.*)$", text, re.M) == HEADINGS
    for line in (
        "- **recipe**: mine, stage student",
        "- **images**: faces/ms1m.rec, crawl",
        "- **method**: margin (weight 1.0; margin arcface), l2e (weight 2)",
        "- **teacher**: teachers/w600k\\_r50.onnx",
        "- **starting weights**: old/mbf.pt",
        "- **epochs**: 20, 128 images a step",
        "Not measured.",
    ):
        assert line in text.splitlines()
    assert rows(text, "part | what | licence") == [
        ["training images", "faces/ms1m.rec, crawl", "research only"],
        ["teacher", "teachers/w600k\\_r50.onnx", "unknown"],
        ["starting weights", "old/mbf.pt", "unknown"],
        ["software", "facekd", "MIT"],
    ]
    assert "nobody has given permission" in text.replace("\n", " ")
    assert "/home/me" not in text
    assert "/srv" not in text


@pytest.mark.parametrize(
    ("about", "parts"),
    [
        ({}, [("training images", "unknown", "unknown"), ("teacher", "unknown", "unknown")]),
        (
            {"imported_from": "mxnet"},
            [
                ("training images", "unknown", "unknown"),
                ("teacher", "unknown", "unknown"),
                ("imported weights", "trained by others, mxnet", "unknown"),
            ],
        ),
        (
            {"recipe": {"data": {"source": "synthetic"}, "teacher": None}},
            [
                (
                    "training images",
                    "synthetic",
                    DRAWN,
                )
            ],
        ),
        (
            {"recipe": {"data": {"source": "a/b.rec"}, "teacher": {"model": "big"}}},
            [
                ("training images", "a/b.rec", "unknown"),
                (
                    "teacher",
                    "stage big of the same run",
                    "that of its own training images and teacher",
                ),
            ],
        ),
        (
            {"recipe": "a text"},
            [("training images", "unknown", "unknown"), ("teacher", "unknown", "unknown")],
        ),
    ],
)
def test_parts_and_what_is_not_known_of_them(about, parts):
    assert list(parts_table(about, Licences()).rows) == [*parts, ("software", "facekd", "MIT")]


def test_an_export_has_a_card_with_its_files_and_the_gates_numbers(exported, bench):
    text = exported.file("s.md").read_text()
    assert re.findall(r"^## (.*)$", text, re.M) == [*HEADINGS, "Files"]
    files = rows(text, "file | what | size | against the network | SHA-256")
    assert [row[0] for row in files] == [
        "s.onnx",
        "s.int8.onnx",
        "s.fp16.onnx",
        "s.pt2",
        "weights.safetensors",
    ]
    assert "calibrated on" in files[1][3]
    assert files[4][3] == "the same bits"
    assert "### Before and after exporting" in text
    assert "s.int8.onnx changes accuracy by" in text
    assert "| file | size | smaller | ms | faster |" in text
    assert "accuracy threshold by exact search on the other folds" in text
    assert str(exported.folder) not in text
    assert f"image size 112x112; {bench.name}/tiny.bin." in text
    assert str(bench) not in text


def test_the_numbers_of_a_saved_report(exported, bench, tmp_path, capsys):
    student = exported.file("student.pt")
    models = ["--model", f"mine={student}", "--model", exported.file("s.onnx")]
    report = evaluate(tmp_path / "r", "--bench", bench / "tiny.bin", *models).out
    capsys.readouterr()
    out = tmp_path / "CARD.md"
    command = ["card", str(student), "--out", str(out), "--licence-teacher", "CC BY-NC 4.0"]
    assert main([*command, "--report", f"{report}:mine"]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    text = out.read_text()
    assert "where it is called mine" in text
    assert "s.onnx" not in text
    assert re.search(r"\| tiny \| mine \| \d+\.\d\d ± \d+\.\d\d \| \[\d", text)
    assert "| teacher | unknown | CC BY-NC 4.0 |" in text
    assert main([*command, "--report", str(report)]) == 2
    told = capsys.readouterr().err
    assert "CARD.md is there already" in told
    assert main([*command, "--report", str(report), "--force"]) == 2
    told = capsys.readouterr().err
    assert f"no network 'student' in it, but mine, s; give --report {report}:NAME" in told
    with pytest.raises(FacekdError, match=r"cannot read .*results\.json"):
        measured_in(str(tmp_path / "nothing"), "student")


def test_groups_where_they_were_measured(tmp_path):
    from made_reports import pairs_bench

    from facekd.eval.report import write_report
    from facekd.eval.results import Evaluation

    grouped = pairs_bench("made", ["student"], groups=("old", "young"))
    write_report(Evaluation((grouped,), "exact"), tmp_path, figures=False)
    text = card(described(), licences=Licences(), measured=[measured_in(str(tmp_path), "student")])
    assert "Groups at one common threshold" in text
    assert "| old |" in text
    assert "Measured: see the table of groups above." in text
    assert "nothing is known of it" not in text


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE,
        "[a](javascript:alert(1))",
        "![a](http://x.org/p.png)",
        "a\n# heading\n\n- item",
        "[x]: http://x.org",
        "www.x.org and me@x.org",
        "a | b | c",
        "`code` *bold* ~~no~~",
        "right\u202eleft\x00",
    ],
)
def test_texts_of_files_stay_texts(text):
    """Every mark that would make HTML, a link, a heading or another cell stands behind a backslash
    or as an entity."""
    name = plain(text)
    assert "\n" not in name
    assert "\u202e" not in name
    assert not re.search(r"<|(?<!\\)[`*~_#@|]", name)
    assert not re.search(r"(?<!\\)\][(:\[]|\w://|www\.", name)
    table = markdown_table(Table("t", ("a", "b"), ((text, "end"),)))
    (row,) = table.splitlines()[4:]
    assert len(re.findall(r"(?<!\\)\|", row)) == 3
    model = described(run=text, stage=text, imported_from=text, label_map_hash=text)
    model.name = model.backbone_name = text
    made = card(model, licences=Licences(text, text, text))
    assert re.findall(r"^#+ (.*)$", made, re.M)[1:] == HEADINGS
    assert "<" not in made


def test_long_texts_are_cut():
    assert len(plain("a" * 5000)) == LONGEST
