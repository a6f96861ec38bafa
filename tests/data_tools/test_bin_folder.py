import os

import pytest

from facekd.cli.data import main
from facekd.data_tools.bin_folder import bin_to_folder, folder_to_bin
from facekd.data_tools.binfile import read_bin, write_bin
from facekd.data_tools.pair_files import from_csv
from facekd.errors import FacekdError

IMAGES = [b"\xff\xd8one", b"\x89PNG two", b"\xff\xd8one", b"?three", b"?three", b"?three"]
SAME = [True, False, True]


def same_content(one, other) -> bool:
    a, b = read_bin(one), read_bin(other)
    same_images = [bytes(x) for x in a.encoded] == [bytes(x) for x in b.encoded]
    return same_images and a.same.tolist() == b.same.tolist()


@pytest.fixture
def made(tmp_path):
    write_bin(tmp_path / "a.bin", IMAGES, SAME)
    assert main(["convert", str(tmp_path / "a.bin"), str(tmp_path / "a")]) == 0
    return tmp_path / "a"


def test_there_and_back(tmp_path, made):
    assert sorted(os.listdir(made / "images")) == ["0.jpg", "1.png", "3.img"]
    assert (made / "pairs.csv").read_text() == (
        "a,b,same\nimages/0.jpg,images/1.png,1\nimages/0.jpg,images/3.img,0\n"
        "images/3.img,images/3.img,1\n"
    )
    assert main(["convert", str(made), str(tmp_path / "b.bin")]) == 0
    assert same_content(tmp_path / "a.bin", tmp_path / "b.bin")


def test_not_overwritten_unasked(tmp_path, made, capsys):
    assert main(["convert", str(tmp_path / "a.bin"), str(made)]) == 2
    assert main(["convert", str(made), str(tmp_path / "a.bin")]) == 2
    assert "a.bin exists; give another name, or --force" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "a.bin"), str(made), "--force"]) == 0
    assert main(["convert", str(made), str(tmp_path / "a.bin"), "--force"]) == 0


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("/etc/passwd,images/0.jpg,1", "is absolute"),
        ("../a.bin,images/0.jpg,1", "leads out of its folder"),
        ("images/link.jpg,images/0.jpg,1", "is a link out of"),
        ("images/9.jpg,images/0.jpg,1", "No such file"),
        ("images/empty.jpg,images/0.jpg,1", "the image images/empty.jpg is empty"),
        ("images/0.jpg,images/1.png,maybe", "same is 'maybe'"),
    ],
)
def test_bad_lists_are_one_sentence(tmp_path, made, line, sentence):
    (made / "images/link.jpg").symlink_to("/etc/passwd")
    (made / "images/empty.jpg").touch()
    (made / "pairs.csv").write_text(f"a,b,same\n{line}\n")
    with pytest.raises(FacekdError) as caught:
        folder_to_bin(made, tmp_path / "b.bin")
    assert sentence in str(caught.value)
    assert "pairs.csv, line 2" in str(caught.value)
    assert not (tmp_path / "b.bin").exists()


def test_an_empty_image(tmp_path):
    write_bin(tmp_path / "a.bin", [b"x", b""], [True])
    with pytest.raises(FacekdError, match=r"a\.bin, image 1 holds no bytes"):
        bin_to_folder(tmp_path / "a.bin", tmp_path / "a")
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.data
def test_real_pairs(tmp_path, data_dir):
    bin_to_folder(data_dir / "lfw" / "lfw.bin", tmp_path / "lfw")
    folder_to_bin(tmp_path / "lfw", tmp_path / "lfw.bin")
    assert same_content(data_dir / "lfw" / "lfw.bin", tmp_path / "lfw.bin")
    pairs = from_csv(tmp_path / "lfw" / "pairs.csv")
    assert (len(pairs), len(pairs.images)) == (6000, 7701)
    bin_to_folder(data_dir / "formats" / "small_lfw.bin", tmp_path / "small")
    folder_to_bin(tmp_path / "small", tmp_path / "small.bin")
    assert same_content(data_dir / "formats" / "small_lfw.bin", tmp_path / "small.bin")
