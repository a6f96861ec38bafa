import pickle

import numpy as np
import pytest

from facekd.data_tools.image_roots import open_root
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.pair_files import from_csv, from_lfw_pairs
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.errors import FacekdError

PLACES = ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bob/Bob_0001.jpg")
LEVELS = (30, 90, 150)


def grey(level):
    return encode_jpeg(np.full((8, 8, 3), level, np.uint8))


@pytest.fixture
def rec(tmp_path):
    with RecordWriter(tmp_path / "faces.rec") as writer:
        for key, level in enumerate(LEVELS):
            writer.write(key, pack(IRHeader(float(key == 2), key), grey(level)))
    return tmp_path / "faces.rec"


@pytest.fixture
def listed(rec):
    lines = [f"{key}\t{int(key == 2)}\t{place}\n" for key, place in enumerate(PLACES)]
    rec.with_suffix(".lst").write_text("".join(lines))
    return rec


def levels(pairs, rows):
    return [round(float(pairs.images[int(i)].mean()) / 10) * 10 for i in rows]


def test_a_csv_names_records_by_number(rec, tmp_path):
    (tmp_path / "pairs.csv").write_text("a,b,same\n0,1,1\n2,0,0\n")
    pairs = from_csv(tmp_path / "pairs.csv", rec)
    assert levels(pairs, pairs.left) == [30, 150]
    assert levels(pairs, pairs.right) == [90, 30]
    assert pairs.ids == ["0", "1", "2"]
    assert pairs.images.encoded(2) == grey(150)
    assert "faces.rec record 2" in pairs.images.where(2)
    assert levels(pickle.loads(pickle.dumps(pairs)), pairs.left) == [30, 150]


def test_lfw_names_and_paths_are_found_by_the_list_beside_records(listed, tmp_path):
    (tmp_path / "pairs.txt").write_text("Ann 1 2\nAnn 2 Bob 1\n")
    pairs = from_lfw_pairs(tmp_path / "pairs.txt", listed)
    assert levels(pairs, pairs.left) == [30, 90]
    assert levels(pairs, pairs.right) == [90, 150]
    (tmp_path / "p.csv").write_text(
        f"a,b,same\n{PLACES[0]},{PLACES[1]},1\n{PLACES[2]},{PLACES[1]},0\n"
    )
    assert levels(from_csv(tmp_path / "p.csv", listed), [0, 1, 2]) == list(LEVELS)


def test_records_that_are_not_there_are_told_or_black(rec, tmp_path):
    (tmp_path / "pairs.csv").write_text("a,b,same\n0,1,1\n2,7,0\n")
    words = r"line 3: there is no image 7 in .*faces\.rec \(1 of 4 .*give the file whose image ids"
    with pytest.raises(FacekdError, match=words):
        from_csv(tmp_path / "pairs.csv", rec)
    pairs = from_csv(tmp_path / "pairs.csv", rec, missing_ok=True)
    assert pairs.found.tolist() == [True, True, True, False]
    assert levels(pairs, range(4)) == [30, 90, 150, 0]
    (tmp_path / "pairs.csv").write_text("a,b,same\n10,11,1\n12,7,0\n")
    with pytest.raises(FacekdError, match=r"4 of 4 images are missing\); give the file whose"):
        from_csv(tmp_path / "pairs.csv", rec, missing_ok=True)


def test_a_root_that_is_not_there(tmp_path):
    with pytest.raises(FacekdError, match=r"gone\.rec does not exist"):
        open_root(tmp_path / "gone.rec")
