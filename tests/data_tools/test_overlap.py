import csv
import io

import cv2
import numpy as np
import pytest

from facekd.data_tools.binfile import write_bin
from facekd.data_tools.image_set import image_marks, normal_name, open_images, open_labelled_set
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.overlap import COLUMNS, find_overlap
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.review_sheets import overlap_sheet
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.errors import FacekdError

FACES = SyntheticFaces(8, 3, seed=2)
NAMES = ("Ann_Lee", "Bo_Ek", "Cy_Dee", "Di_Fox")


def jpeg(i, quality=95):
    return encode_jpeg(FACES.image(i), quality)


def write_folder(root, files):
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Four people of three images, numbers 0 to 11."""
    files = {f"{NAMES[i // 3]}/{i % 3}.jpg": jpeg(i) for i in range(12)}
    return write_folder(tmp_path_factory.mktemp("train"), files)


@pytest.fixture(scope="module")
def shared():
    """By file name in a test set, what it shares with `train` (nothing: image 20) and how."""
    smaller = cv2.resize(FACES.image(7), (64, 64), interpolation=cv2.INTER_AREA)
    mirrored = np.ascontiguousarray(FACES.image(4)[:, ::-1])
    return {
        "ann  LEE/a.jpg": jpeg(20),
        "Eve/same.jpg": jpeg(0),
        "Eve/again.jpg": jpeg(0),
        "Eve/small.jpg": encode_jpeg(smaller, 60),
        "Gus/mirror.jpg": encode_jpeg(mirrored, 85),
    }


def rows(text):
    table = list(csv.DictReader(io.StringIO(text)))
    assert tuple(csv.DictReader(io.StringIO(text)).fieldnames) == COLUMNS
    return table


def test_everything_shared_is_found_by_its_own_way(train, shared, tmp_path):
    found = find_overlap(open_images(train), open_images(write_folder(tmp_path, shared)))
    table = {row[0]: row[1:] for row in found.table()}
    assert table == {
        "name": ("3", "1", "1", "1"),
        "bytes": ("1", "1", "2", "1"),
        "picture": ("2", "2", "3", "1"),
        "mirrored": ("1", "1", "1", "1"),
    }
    told = {(r["a_image"], r["b_image"], r["way"]) for r in rows(found.matches_csv())}
    assert told == {
        ("", "", "name"),
        ("Ann_Lee/0.jpg", "Eve/same.jpg", "bytes"),
        ("Ann_Lee/0.jpg", "Eve/again.jpg", "bytes"),
        ("Ann_Lee/0.jpg", "Eve/same.jpg", "picture"),
        ("Ann_Lee/0.jpg", "Eve/again.jpg", "picture"),
        ("Cy_Dee/1.jpg", "Eve/small.jpg", "picture"),
        ("Bo_Ek/1.jpg", "Gus/mirror.jpg", "mirrored"),
    }
    assert found.drop().tolist() == [0, 4, 7]
    assert found.drop(identities=True).tolist() == list(range(9))


def test_the_same_is_found_in_a_bin_and_counted_once(train, shared, tmp_path):
    write_bin(tmp_path / "b.bin", [*shared.values(), jpeg(21)], [True, True, False])
    test = open_images(tmp_path / "b.bin")
    assert len(test) == 5  # of six: one is there twice
    assert test.ids == ["0", "1", "3", "4", "5"]
    found = find_overlap(open_images(train), test)
    table = {row[0]: row[1:] for row in found.table()}
    assert table["name"] == ("-", "-", "-", "-")
    assert table["bytes"] == ("1", "1", "1", "-")
    assert table["picture"] == ("2", "2", "2", "-")
    assert found.drop().tolist() == [0, 4, 7]
    turned = find_overlap(test, open_images(train))
    assert turned.drop().tolist() == [1, 2, 3]
    with pytest.raises(FacekdError, match="does not say whom"):
        turned.drop(identities=True)


def test_pair_lists_name_people_by_their_folders(train, shared, tmp_path):
    root = write_folder(tmp_path / "images", shared)
    lines = "a,b,same\nEve/same.jpg,Eve/small.jpg,1\nann  LEE/a.jpg,Gus/mirror.jpg,0\n"
    (tmp_path / "pairs.csv").write_text(lines)
    test = open_images(f"{tmp_path / 'pairs.csv'}:{root}")
    found = find_overlap(open_images(train), test)
    assert found.table()[0] == ("name", "3", "1", "1", "1")
    assert found.drop().tolist() == [0, 4, 7]


def test_labels_of_a_rec_are_no_names(train, tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key in range(4):
            writer.write(key, pack(IRHeader(float(key // 2), key), jpeg(key + 10)))
    records = open_images(tmp_path / "a.rec")
    assert not records.named
    assert [records.identity(i) for i in range(4)] == ["0", "0", "1", "1"]
    found = find_overlap(records, open_images(train))
    assert found.people is None
    assert found.drop().tolist() == [0, 1]


def test_numbered_folders_are_no_names(tmp_path):
    files = {"0001/a.jpg": jpeg(0), "0002/a.jpg": jpeg(3)}
    numbered = open_images(write_folder(tmp_path, files))
    assert find_overlap(numbered, numbered).people is None


def test_embeddings_find_what_looks_different(train, shared, tmp_path):
    a, b = open_images(train), open_images(write_folder(tmp_path, shared))
    ours, theirs = np.eye(20, dtype=np.float32)[:12], np.eye(20, dtype=np.float32)[12:17].copy()
    theirs[2] = ours[5] + 0.5 * ours[6]
    found = find_overlap(a, b, embeddings=(ours, theirs), cosine=0.8)
    matches = found.found["embedding"]
    assert (matches.a.tolist(), matches.b.tolist()) == ([5], [2])
    assert matches.values[0] == pytest.approx(1 / 1.25**0.5)
    assert 5 in found.drop()
    row = rows(found.matches_csv())[-1]
    assert (row["way"], row["cosine"], row["bits"]) == ("embedding", "0.8944", "")


def test_a_sheet_shows_the_pairs(train, shared, tmp_path):
    a, b = open_images(train), open_images(write_folder(tmp_path, shared))
    sheet = overlap_sheet(find_overlap(a, b))
    assert sheet.shape[1] > 12 * 112
    other = open_images(write_folder(tmp_path / "other", {"x/1.jpg": jpeg(20)}))
    assert overlap_sheet(find_overlap(a, other)) is None


def test_workers_change_nothing(train):
    images = open_images(train)
    one, three = image_marks(images, 1), image_marks(images, 3)
    assert (one[0] == three[0]).all()
    assert (one[1] == three[1]).all()


def test_a_damaged_image_is_named(tmp_path):
    images = open_images(write_folder(tmp_path, {"x/1.jpg": jpeg(0), "x/2.jpg": b"no picture"}))
    with pytest.raises(FacekdError, match=r"image x/2.jpg: 10 bytes do not decode"):
        image_marks(images, 2)


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ann_Lee", "ann lee"), ("ANN  LEE ", "Ann_Lee"), ("Ma\u0301ire", "M\u00e1ire")],
)
def test_names_written_differently_are_one(one, other):
    assert normal_name(one) == normal_name(other)
    assert normal_name("Ann_Lee") != normal_name("Annlee")


def test_what_is_not_labelled_is_no_set_to_clean(tmp_path):
    write_bin(tmp_path / "b.bin", [jpeg(0), jpeg(1)], [True])
    with pytest.raises(FacekdError, match=r"b\.bin"):
        open_labelled_set(tmp_path / "b.bin")


@pytest.mark.data
def test_lfw_train_holds_images_of_lfw_bin(data_dir, tmp_path):
    from facekd.data_tools.binfile import read_bin

    part = read_bin(data_dir / "lfw/lfw.bin")
    write_bin(tmp_path / "part.bin", part.encoded[:300], part.same[:150])
    train = open_images(data_dir / "lfw_train/train.rec")
    test = open_images(tmp_path / "part.bin")
    found = find_overlap(train, test, workers=2)
    assert len(np.unique(found.found["bytes"].b)) == len(test)
    assert len(np.unique(found.found["picture"].b)) == len(test)
    assert len(found.drop()) < len(train) / 20
