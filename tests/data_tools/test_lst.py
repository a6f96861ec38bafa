import numpy as np
import pytest

from facekd.data_tools.lst import identity_names, list_line, read_list
from facekd.errors import FacekdError


def test_im2rec_lists(tmp_path):
    path = tmp_path / "a.lst"
    path.write_bytes(b"4\t7.000000\tann/1.jpg\r\n\n2\t3\t0.25\tbob/x y.jpg\n")
    found = read_list(path)
    assert found.keys.tolist() == [2, 4]
    assert found.labels.tolist() == [3, 7]
    assert list(found.places) == ["bob/x y.jpg", "ann/1.jpg"]
    assert {row: vector.tolist() for row, vector in found.vectors.items()} == {0: [3, 0.25]}


def test_lists_as_insightface_writes_them(tmp_path):
    path = tmp_path / "a.lst"
    path.write_text("1\t/data/faces/m.01/1.jpg\t0\n0\t/data/faces/m.02/7.jpg\t1\t3\t4\n")
    found = read_list(path)
    assert found.keys.tolist() == [1, 2]
    assert found.labels.tolist() == [0, 1]
    assert list(found.places) == ["m.01/1.jpg", "m.02/7.jpg"]


def test_lines_are_read_back(tmp_path):
    vector = np.array([16777216, 0.1, -3e-30], np.float32)
    path = tmp_path / "a.lst"
    path.write_bytes(list_line(1 << 62, 16777216, vector, "é/a b") + list_line(0, 5, None, "x"))
    found = read_list(path)
    assert found.keys.tolist() == [0, 1 << 62]
    assert list(found.places) == ["x", "é/a b"]
    assert np.array_equal(found.vectors[1], vector)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("1\tann/1.jpg", "is not 'key<tab>label<tab>path'"),
        ("x\t0\tann/1.jpg", "is not 'key<tab>label<tab>path'"),
        ("²\t0\tann/1.jpg", "is not 'key<tab>label<tab>path'"),
        ("1\tzero\tann/1.jpg", "is not 'key<tab>label<tab>path'"),
        ("1\t-1\tann/1.jpg", "the label -1 is no whole number"),
        ("1\t0.5\tann/1.jpg", "the label 0.5 is no whole number"),
        ("1\tnan\tann/1.jpg", "the label nan is no whole number"),
        ("1\tinf\tann/1.jpg", "the label inf is no whole number"),
        ("1\t0\t/etc/passwd", "is absolute"),
        ("1\t0\tann/../../1.jpg", "leads out of its folder"),
        ("9" * 30 + "\t0\tann/1.jpg", "is too large"),
    ],
)
def test_bad_lines_are_one_sentence(tmp_path, line, sentence):
    path = tmp_path / "a.lst"
    path.write_text(f"0\t0\tann/0.jpg\n{line}\n", encoding="utf-8")
    with pytest.raises(FacekdError) as caught:
        read_list(path)
    assert sentence in str(caught.value)
    assert "a.lst, line 2: " in str(caught.value)


def test_bad_files(tmp_path):
    path = tmp_path / "a.lst"
    path.write_bytes(b"\n")
    with pytest.raises(FacekdError, match="lists no images"):
        read_list(path)
    path.write_bytes(b"1\t0\t\xff.jpg\n")
    with pytest.raises(FacekdError, match="is no UTF-8 text"):
        read_list(path)
    path.write_bytes(b"1\t0\ta.jpg\n1\t0\tb.jpg\n")
    with pytest.raises(FacekdError, match="lists the record 1 more than once"):
        read_list(path)


@pytest.mark.parametrize("place", ["a\tb", "a\nb", "a\rb", "a\udcffb"])
def test_names_that_no_list_can_hold(place):
    with pytest.raises(FacekdError, match="cannot stand in a list"):
        list_line(1, 0, None, place)


def test_names_go_with_labels_one_to_one():
    labels = np.array([3, 1, 3])
    assert tuple(identity_names(labels, ["c/1", "a/1", "c/2"])) == ("", "a", "", "c")
    assert identity_names(labels, ["c/1", "a/1", "d/2"]) is None
    assert identity_names(labels, ["c/1", "c/2", "c/3"]) is None
    assert identity_names(labels, ["1", "2", "3"]) is None
