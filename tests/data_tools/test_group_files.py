from dataclasses import replace

import numpy as np
import pytest

from facekd.data_tools.group_files import pair_groups, read_groups
from facekd.data_tools.pairs import PairSet
from facekd.errors import FacekdError

PAIRS = PairSet(
    name="made",
    images=[np.zeros((4, 4, 3), np.uint8)] * 4,
    left=np.array([0, 2, 0, 1]),
    right=np.array([1, 3, 2, 3]),
    same=np.array([True, True, False, False]),
    folds=None,
    ids=["a.jpg", "b.jpg", "c.jpg", "d.jpg"],
)
BIN = replace(PAIRS, ids=None)


def write(path, text):
    path.write_text(text.replace(" ", "\n") + "\n")
    return path


def test_labels_of_images_group_the_pairs_whose_images_agree(tmp_path):
    file = write(tmp_path / "g.csv", "image,age d.jpg,old a.jpg,young c.jpg,old b.jpg,young x,old")
    assert read_groups(file, PAIRS).tolist() == ["young", "old", "", ""]
    file = write(tmp_path / "g.csv", "x,age,image 1,,a.jpg 1,old,b.jpg 2,,c.jpg 2,old,d.jpg")
    assert read_groups(file, PAIRS, "age").tolist() == ["", "", "", "old"]
    assert read_groups(file, PAIRS, "x").tolist() == ["1", "2", "", ""]


def test_images_of_a_bin_go_by_their_number_in_the_file(tmp_path):
    rows = " ".join(f"{i},{'even' if i < 4 else 'later'}" for i in range(7)) + " 7,x"
    file = write(tmp_path / "g.csv", "image,group " + rows)
    assert read_groups(file, BIN).tolist() == ["even", "even", "later", ""]


def test_labels_of_pairs_by_number_or_by_row(tmp_path):
    by_number = write(tmp_path / "g.csv", "pair,group 3,d 0,a 2,c 1,b")
    assert read_groups(by_number, PAIRS).tolist() == ["a", "b", "c", "d"]
    by_row = write(tmp_path / "g.csv", "pose,group front,x front,x side,x side,x")
    assert read_groups(by_row, PAIRS, "pose").tolist() == ["front", "front", "side", "side"]
    assert read_groups(by_row, PAIRS).tolist() == ["x"] * 4


def test_templates_are_labelled_like_images(tmp_path):
    file = write(tmp_path / "g.csv", "template,skin 7,1 11,1 30,2 31,5")
    groups = pair_groups(file, [0, 1], [1, 2], ["7", "11", "30"], key="template")
    assert groups.tolist() == ["1", ""]


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("image,age,sex a,b,c", None, r"columns image, age, sex; say which .*g\.csv:COLUMN"),
        ("image,age a.jpg,x", "aeg", "no column 'aeg'; did you mean 'age'"),
        ("image,age a.jpg,x b,y", None, "labels 1 of the 4 images in use: 'b.jpg' is missing; it"),
        ("image,age a.jpg,x b,y", None, "does name 'b', which no pair uses; give every image"),
        ("image,age a.jpg,x a.jpg,y", None, r"line 3: a.jpg is labelled 'y' here and 'x' before"),
        ("age x y", None, r"has 2 rows for 4 pairs, and no column 'image' or 'pair'.*: age"),
        ("pair,age 0,x 1,x 4,x 2,y", None, "labels 3 of the 4 pairs in use: '3' is missing; it do"),
        (f"pair,age 0,x 1,{'x' * 256}", None, "line 3: age has 256 characters, at most 255"),
        ("image,age a.jpg,x b.jpg,y c.jpg,z d.jpg,w", None, "no pair is in a group"),
    ],
)
def test_what_is_wrong_with_a_groups_file(tmp_path, text, column, words):
    with pytest.raises(FacekdError, match=words):
        read_groups(write(tmp_path / "g.csv", text), PAIRS, column)
