import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from facekd.cli.data import main
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.items import Item
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.data_tools.writers import write_set

FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def faces(tmp_path):
    drawn = SyntheticFaces(5, 5, size=32)
    items = [
        Item(f"person {i // 5}", f"{i}.jpg", i // 5, encode_jpeg(drawn.image(i)))
        for i in range(25)
        if i % 5 <= i // 5
    ]
    write_set(items, tmp_path / "a.rec")
    return tmp_path / "a.rec"


def run(*arguments):
    return main(["inspect", *map(str, arguments)])


def test_the_table_is_aligned_and_has_a_histogram(faces, capsys):
    assert run(faces) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len({line.index("  ") for line in lines if line.startswith("images per id")}) == 1
    at = lines[0].index(str(faces))
    assert all(line[at - 2 : at] == "  " and line[at] != " " for line in lines if line[0] != " ")
    bars = [line[at:] for line in lines if line[0] == " "]
    assert bars == [f"  1  1  {'#' * 20}", f"2-3  2  {'#' * 40}", f"4-7  2  {'#' * 40}"]


def test_sheet_is_drawn_and_not_overwritten(faces, tmp_path, capsys):
    sheet = tmp_path / "sheet.png"
    assert run(faces, "--sheet", sheet) == 0
    drawn = cv2.imread(str(sheet))
    assert drawn.shape == (24 + 5 * 138 - 8 + 24, 24 + 5 * 120 - 8 + 24, 3)
    assert run(faces, "--sheet", sheet) == 2
    assert "--force" in capsys.readouterr().err
    assert run(faces, "--sheet", sheet, "--force", "--json") == 0
    assert json.loads(capsys.readouterr().out)["sheet"] == str(sheet)
    assert run(faces, "--sheet", tmp_path / "sheet.txt") == 2
    (tmp_path / "p.txt").write_text("")
    assert run(faces.with_suffix(".lst"), "--sheet", tmp_path / "s2.jpg") == 0
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    np.save(tmp_path / "e.npy", np.ones((3, 4), np.float32))
    assert run(tmp_path / "e.npy", "--sheet", tmp_path / "s3.jpg") == 2
    assert "nothing to draw" in capsys.readouterr().err


def test_embeddings_with_and_without_description(tmp_path, capsys):
    rows = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float16)
    rows[7] = 0
    np.save(tmp_path / "e.npy", rows)
    assert run(tmp_path / "e.npy", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["faces"], found["embedding_dim"], found["dtype"]) == (50, 8, "float16")
    assert found["zero_or_not_finite"] == 1
    described = {"format": 1, "shape": [50, 8], "halves": True, "model": "student"}
    (tmp_path / "e.json").write_text(json.dumps(described))
    assert run(tmp_path / "e.json") == 0
    told = capsys.readouterr().out
    assert "original | mirrored" in told
    assert "model student" in told
    np.save(tmp_path / "s.npy", np.linspace(-1, 1, 9))
    assert run(tmp_path / "s.npy") == 0
    assert "min -1, median 0, max 1" in capsys.readouterr().out
    np.save(tmp_path / "i.npy", np.zeros((3, 4), np.uint8))
    assert run(tmp_path / "i.npy") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_networks_scores_and_reports(capsys):
    assert run(FIXTURES / "format1_tiny.pt") == 0
    told = capsys.readouterr().out
    assert "network" in told
    assert "channels" in told
    report = FIXTURES / "report_format2"
    assert run(report) == 0
    assert "benches" in capsys.readouterr().out
    scores = sorted((report / "scores").glob("*.npz"))
    for file in scores:
        assert run(file) == 0
        assert "genuine pairs" in capsys.readouterr().out
    assert scores


@pytest.mark.parametrize("suffix", [".pt", ".onnx", ".params", ".npy", ".npz", ".safetensors"])
def test_odd_bytes_are_one_line(tmp_path, capsys, suffix):
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(b"odd bytes")
    assert run(path) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
