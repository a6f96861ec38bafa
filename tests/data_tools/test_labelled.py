import os
import pickle
import tracemalloc

import numpy as np
import pytest

from facekd.data_tools.file_images import FileImages
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.items import Item
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.writers import write_set
from facekd.errors import FacekdError

GREYS = {"ann/1.jpg": 10, "ann/2.jpg": 60, "ann/10.jpg": 110, "bob/1.jpg": 160, "cy/x.jpg": 210}


def grey(level: int) -> bytes:
    return encode_jpeg(np.full((8, 8, 3), level, dtype=np.uint8))


@pytest.fixture
def folder(tmp_path):
    for name, level in GREYS.items():
        path = tmp_path / "people" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(grey(level))
    return tmp_path / "people"


@pytest.fixture
def rec(tmp_path):
    path = tmp_path / "people.rec"
    with RecordWriter(path) as writer:
        for key, (label, level) in enumerate([(7, 30), (3, 90), (7, 150)]):
            writer.write(key, pack(IRHeader(float(label), key), grey(level)))
    return path


def levels(images) -> list[int]:
    return [round(float(images[i].mean()) / 10) * 10 for i in range(len(images))]


def test_folder(folder):
    found = open_labelled(folder)
    assert found.name == "people"
    assert found.labels.tolist() == [0, 0, 0, 1, 2]
    assert tuple(found.names) == ("ann", "bob", "cy")
    assert list(found.ids) == list(GREYS)
    assert levels(found.images) == list(GREYS.values())
    assert levels(pickle.loads(pickle.dumps(found)).images) == list(GREYS.values())


def test_rec(rec):
    found = open_labelled(rec)
    assert found.name == "people"
    assert found.labels.tolist() == [7, 3, 7]
    assert found.names is None
    assert list(found.ids) == ["0", "1", "2"]
    assert levels(found.images) == [30, 90, 150]
    assert levels(pickle.loads(pickle.dumps(found)).images) == [30, 90, 150]


def test_fingerprint_of_a_folder_follows_names_sizes_and_times(folder, tmp_path):
    first = open_labelled(folder).fingerprint
    assert open_labelled(folder).fingerprint == first
    moved = folder.rename(tmp_path / "elsewhere")
    assert open_labelled(moved).fingerprint == first
    os.utime(moved / "ann/2.jpg", ns=(1, 1))
    touched = open_labelled(moved).fingerprint
    assert touched != first
    (moved / "cy").rename(moved / "bobby")  # same files, another identity's name
    assert open_labelled(moved).fingerprint not in {first, touched}


def test_fingerprint_of_a_rec_follows_labels_size_and_time(rec):
    first = open_labelled(rec).fingerprint
    assert open_labelled(rec).fingerprint == first
    time = rec.stat().st_mtime_ns
    content = bytearray(rec.read_bytes())
    content[12:16] = np.float32(3).tobytes()  # the first record's label
    rec.write_bytes(content)
    os.utime(rec, ns=(time, time))
    relabelled = open_labelled(rec).fingerprint
    assert relabelled != first
    os.utime(rec, ns=(time, time + 1))
    assert open_labelled(rec).fingerprint not in {first, relabelled}


def test_an_image_that_does_not_decode_is_named(folder, rec):
    (folder / "ann/2.jpg").write_bytes(b"no image")
    found = open_labelled(folder)
    with pytest.raises(FacekdError, match=r"ann/2\.jpg: 8 bytes do not decode"):
        found.images[1]
    (folder / "bob/1.jpg").unlink()
    with pytest.raises(FacekdError, match=r"cannot read the image .*bob/1\.jpg: No such file"):
        found.images[3]
    content = rec.read_bytes()
    rec.write_bytes(content.replace(grey(90), bytes(len(grey(90)))))
    with pytest.raises(FacekdError, match=r"people\.rec record 1 at byte \d+: .*do not decode"):
        open_labelled(rec).images[1]


def test_a_file_that_went_away_has_no_fingerprint(folder):
    images = FileImages([folder / "ann/1.jpg", folder / "gone.jpg"])
    with pytest.raises(FacekdError, match=r"cannot read the image .*gone\.jpg: No such file"):
        images.fingerprint  # noqa: B018


def test_what_is_neither(tmp_path):
    with pytest.raises(FacekdError, match=r"nothing\.rec does not exist; give a folder"):
        open_labelled(tmp_path / "nothing.rec")
    (tmp_path / "a.zip").write_bytes(b"x")
    with pytest.raises(FacekdError, match=r"a\.zip is of no known kind; give a folder"):
        open_labelled(tmp_path / "a.zip")


@pytest.mark.parametrize(("kind", "most"), [("bare", 35), ("rec", 70), ("folder", 60), ("tar", 80)])
def test_an_image_costs_some_tens_of_bytes(tmp_path, kind, most):
    count = 4000
    items = (Item(f"{i // 50:06d}", f"{i % 50}.jpg", i // 50, b"\xff\xd8x") for i in range(count))
    path = tmp_path / ("a.rec" if kind in ("bare", "rec") else "a")
    write_set(items, path, "rec" if kind == "bare" else kind)
    if kind == "bare":
        (tmp_path / "a.lst").unlink()
    open_labelled(path)  # what is imported and allocated once
    held = []
    for _ in range(3):  # Python's table of interned names, of any size, may grow in one of them
        tracemalloc.start()
        found = open_labelled(path)
        held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
    assert len(found.images) == count
    assert min(held) < most * count + 50_000


@pytest.mark.data
def test_real_records(data_dir):
    found = open_labelled(data_dir / "formats" / "face2rec" / "train.rec")
    assert (len(found.images), len(np.unique(found.labels))) == (300, 30)
    assert found.images[299].shape == (112, 112, 3)
    assert list(found.ids) == [str(i) for i in range(1, 301)]
