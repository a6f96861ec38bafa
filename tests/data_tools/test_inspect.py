import json

import numpy as np
import pytest

from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.inspect import inspect, locate
from facekd.data_tools.labelmap import LabelMap
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.errors import FacekdError


def jpeg(height: int = 12, width: int = 10) -> bytes:
    return encode_jpeg(np.full((height, width, 3), 90, np.uint8))


def test_records_in_a_folder(tmp_path):
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, label in enumerate([3, 3, 3, 8, 9, 9, 9]):
            image = b"broken" if key == 5 else jpeg(20) if key == 2 else jpeg()
            writer.write(key + 10, pack(IRHeader(float(label), key), image))
    found = json.loads(json.dumps(inspect(tmp_path)))
    assert found["kind"] == "records (im2rec layout)"
    assert (found["images"], found["identities"]) == (7, 3)
    assert found["images_per_identity"] == {"min": 1, "median": 3.0, "p95": 3.0, "max": 3}
    assert found["labels"] == [3, 9]
    assert found["record_ids"] == [10, 16]
    assert found["image_sizes"] == {"12x10": 5, "20x10": 1, "undecodable": 1}
    assert found["label_map_hash"] == LabelMap(("3", "8", "9"), found["fingerprint"]).hash


def test_lost_index_lines_show(tmp_path):
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        writer.write(0, pack(IRHeader(np.array([4, 5]), 0), b""))
        for key in [1, 2, 3]:
            writer.write(key, pack(IRHeader(0.0, key), jpeg()))
        writer.write(4, pack(IRHeader(np.array([1, 4]), 4), b""))
    assert "images_in_header" not in inspect(path)
    index = path.with_suffix(".idx")
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:3]))
    found = inspect(path)
    assert (found["images"], found["images_in_header"]) == (2, 3)


def test_folder(tmp_path):
    for name in ["ann/1.jpg", "ann/2.jpg", "bob/1.jpg"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(jpeg())
    found = inspect(tmp_path)
    assert (found["kind"], found["images"], found["identities"]) == ("image folder", 3, 2)
    assert found["label_map_hash"] == LabelMap(("ann", "bob")).hash


def test_verification_set(tmp_path):
    write_bin(tmp_path / "a.bin", [jpeg()] * 6, [True, False, False])
    found = inspect(tmp_path / "a.bin")
    assert (found["pairs"], found["genuine_pairs"], found["impostor_pairs"]) == (3, 1, 2)
    assert found["image_sizes"] == {"12x10": 6}


def test_neither_of_them(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"")
    with pytest.raises(FacekdError, match=r"a\.zip is no \.rec file"):
        locate(tmp_path / "a.zip")
    with pytest.raises(FacekdError, match="does not exist"):
        locate(tmp_path / "nothing")


@pytest.mark.data
def test_real_files(data_dir):
    found = inspect(data_dir / "cfp_train")
    assert (found["images"], found["identities"]) == (4536, 324)
    assert found["images_per_identity"] == {"min": 14, "median": 14.0, "p95": 14.0, "max": 14}
    assert found["image_sizes"] == {"112x112": 500}
    assert inspect(data_dir / "formats" / "small_lfw.bin")["genuine_pairs"] == 10
