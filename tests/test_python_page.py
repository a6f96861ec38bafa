"""docs/python.md: its examples run, in order, on drawn faces; and it names all that is public."""

import re
from pathlib import Path

import pytest
import torch

import facekd
from facekd import FaceModel
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.synthetic import SyntheticFaces

PAGE = Path(__file__).parents[1] / "docs" / "python.md"
PEOPLE, EACH = 6, 4


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """student.pt, teacher.pt and crops/NAME/*.jpg."""
    folder = tmp_path_factory.mktemp("python")
    torch.manual_seed(0)
    for name in ("student", "teacher"):
        FaceModel.create("mobilefacenet", 32, width=0.125).save(folder / f"{name}.pt")
    drawn = SyntheticFaces(PEOPLE, EACH)
    for i, label in enumerate(drawn.labels.tolist()):
        path = folder / "crops" / f"person{label}" / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(drawn.image(i)))
    return folder


def test_every_example_runs_in_order(inputs, monkeypatch, capsys):
    monkeypatch.chdir(inputs)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 6
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"{PAGE.name}, block {number + 1}", "exec"), names)
    printed = capsys.readouterr().out
    assert "needs at least 1,000,000" in printed
    assert "this network takes (n, 112, 112, 3)" in printed
    assert names["verdict"].similarity == pytest.approx(names["also"].similarity, abs=1e-6)
    student = names["student"]
    assert (student.name, student.embedding_dim) == ("student", 32)
    assert (inputs / "runs/small/student.pt").is_file()


def test_the_page_names_all_that_is_public():
    text = PAGE.read_text(encoding="utf-8")
    for name in set(facekd.__all__) - {"FaceModel", "__version__"}:
        assert f"facekd.{name}" in text, name
