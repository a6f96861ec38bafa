"""LFW from a local archive, as scikit-learn finds it in its data_home: no network."""

import ast
import csv
import tarfile
from pathlib import Path

import numpy as np
import pytest

import facekd
from facekd.cli.data import main
from facekd.data_tools.align import TEMPLATE, warp_face
from facekd.data_tools.binfile import read_bin
from facekd.data_tools.fetch import fetch_lfw
from facekd.data_tools.images import decode_rgb, encode_jpeg
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.errors import FacekdError

PEOPLE = [f"P{i:02d}" for i in range(23)]
FACES = SyntheticFaces(len(PEOPLE), 2, size=112, seed=9)
NETWORK = {"urllib", "urllib3", "requests", "socket", "http", "ftplib", "httpx", "aiohttp"}


def photograph(person, number):
    picture = np.full((250, 250, 3), 60, np.uint8)
    picture[69:181, 69:181] = FACES.image(2 * person + number - 1)
    return encode_jpeg(picture)


def image(person, number):
    return f"{PEOPLE[person]}/{PEOPLE[person]}_{number:04d}.jpg"


@pytest.fixture
def home(tmp_path):
    """Twenty people in ten folds of a genuine and an impostor pair, three in none."""
    folder = tmp_path / "home/lfw_home"
    folder.mkdir(parents=True)
    lines = ["10\t1"]
    for fold in range(10):
        one, other = PEOPLE[2 * fold : 2 * fold + 2]
        lines += [f"{one}\t1\t2", f"{one}\t2\t{other}\t1"]
    for name in ("pairs.txt", "pairsDevTrain.txt", "pairsDevTest.txt"):
        (folder / name).write_text("\n".join(lines) + "\n")
    for person in range(len(PEOPLE)):
        for number in (1, 2):
            path = tmp_path / "lfw" / image(person, number)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photograph(person, number))
    with tarfile.open(folder / "lfw.tgz", "w:gz") as archive:
        archive.add(tmp_path / "lfw", "lfw")
    return tmp_path / "home"


@pytest.fixture
def landmarks(tmp_path):
    """Those of all but one photograph, of the first pair's first image."""
    with (tmp_path / "landmarks.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *(f"{axis}{i}" for i in range(1, 6) for axis in "xy")])
        for person in range(len(PEOPLE)):
            for number in (1, 2):
                if (person, number) != (0, 1):
                    points = TEMPLATE + np.float32(69)
                    writer.writerow([image(person, number), *map(str, points.ravel())])
    return tmp_path / "landmarks.csv"


def crop(person, number):
    return encode_jpeg(warp_face(decode_rgb(photograph(person, number)), TEMPLATE + 69))


def fetch(home, landmarks, target, *options):
    command = ["fetch", "lfw", str(target), "--home", str(home), "--landmarks", str(landmarks)]
    return main([*command, "--workers", "1", *options])


def test_an_archive_becomes_a_bin_and_a_training_set(home, landmarks, tmp_path, capsys):
    target = tmp_path / "LFW"
    assert fetch(home, landmarks, target) == 0
    printed = capsys.readouterr().out
    assert "46 images: 45 crops, 1 images without a face" in printed
    assert "lfw.bin: 20 pairs; 1 images are black" in printed
    assert "6 images of 3 people, everyone who is in no pair of folds 1,2,3,4" in printed
    made = read_bin(target / "lfw.bin")
    assert made.same.tolist() == [True, False] * 10
    assert decode_rgb(made.encoded[0]).max() == 0
    for fold in range(1, 10):
        one, other = 2 * fold, 2 * fold + 1
        pair = [crop(one, 1), crop(one, 2), crop(one, 2), crop(other, 1)]
        assert [bytes(x) for x in made.encoded[4 * fold : 4 * fold + 4]] == pair
    train = open_labelled(target / "lfw_train.rec")
    assert list(train.names) == PEOPLE[20:]
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert bytes(train.images.encoded(3)) == crop(21, 2)
    assert not (target / "lfw_test.bin").exists()


def test_test_folds_leave_their_people_out_only(home, landmarks, tmp_path, capsys):
    target = tmp_path / "LFW"
    assert fetch(home, landmarks, target, "--test-folds", "9,10") == 0
    assert len(read_bin(target / "lfw.bin").same) == 20
    assert len(read_bin(target / "lfw_test.bin").same) == 4
    assert list(open_labelled(target / "lfw_train.rec").names) == PEOPLE[:16] + PEOPLE[20:]
    assert "lfw_test.bin: 4 pairs.\n" in capsys.readouterr().out
    assert fetch(home, landmarks, target, "--test-folds", "9,10") == 2
    assert "there already" in capsys.readouterr().err
    for name in ("lfw.bin", "lfw_test.bin", "lfw_train.rec"):
        (target / name).unlink()
    assert fetch(home, landmarks, target, "--test-folds", "1", "--force") == 0
    assert list(open_labelled(target / "lfw_train.rec").names) == PEOPLE[2:]


def test_an_archive_unpacked_in_part_is_told(home, tmp_path):
    (home / "lfw_home/lfw").mkdir()
    with pytest.raises(FacekdError, match="unpacking was interrupted"):
        fetch_lfw(home)


def test_a_damaged_archive_is_told(home, tmp_path):
    archive = home / "lfw_home/lfw.tgz"
    archive.write_bytes(archive.read_bytes()[:5000])
    with pytest.raises(FacekdError, match=r"scikit-learn gets no LFW \(EOFError"):
        fetch_lfw(home)


def test_a_photograph_that_a_pair_needs_is_missed(home, landmarks, tmp_path, capsys):
    fetch_lfw(home)
    (home / "lfw_home/lfw" / image(3, 1)).unlink()
    assert fetch(home, landmarks, tmp_path / "LFW") == 2
    assert image(3, 1) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("cfp_fp", "http://www.cfpw.io"),
        ("agedb_30", "DATA/agedb_30.bin"),
        ("ijbc", "stopped on 14 March 2023"),
        ("ms1mv3", "train.rec, train.idx and property"),
    ],
)
def test_of_other_sets_it_tells_the_owners(name, words, capsys):
    assert main(["fetch", name]) == 0
    assert words in capsys.readouterr().out


def test_what_it_cannot_fetch_is_told(capsys):
    assert main(["fetch", "ms1m"]) == 2
    assert "did you mean 'ms1mv3' or 'ms1mv2'?" in capsys.readouterr().err
    assert main(["fetch", "lfw"]) == 2
    assert "needs the folder to make and a detector" in capsys.readouterr().err


def test_nothing_else_in_the_package_can_reach_a_network():
    """No module imports what opens connections; scikit-learn's downloader is called in one."""
    downloads = []
    folders = {
        Path(p)
        for name in ("facekd", "facekd.eval", "facekd.data_tools", "facekd.recipes")
        for p in __import__(name, fromlist=["_"]).__path__
    }
    files = [f for folder in folders for f in folder.rglob("*.py")]
    assert len(files) > 100
    assert Path(facekd.__file__) in files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            assert not NETWORK & {name.split(".")[0] for name in names}, file
            downloads += [file.name for name in names if ".fetch_" in name or ".hub" in name]
    assert downloads == ["fetch.py"]
