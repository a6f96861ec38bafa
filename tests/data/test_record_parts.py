"""Several `.rec` files as one source."""

import pickle

import numpy as np
import pytest

import facekd.data_tools.mapped_file
from facekd.data.faces import load_faces
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.kinds import locate
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.errors import FacekdError
from facekd.recipe import Data

PARTS = 3
LABELS = [5, 5, 2, 9, 2, 2, 5, 9, 11, 11, 5, 2]  # people stand in several parts


def grey(i):
    return encode_jpeg(np.full((16, 16, 3), 15 * i, np.uint8))


def write(path, numbers, bad=(), lists=False):
    """Images of these numbers as records 0, 1, ... of a file."""
    with RecordWriter(path) as writer:
        for key, i in enumerate(numbers):
            data = b"" if i in bad else grey(i)
            writer.write(key, pack(IRHeader(float(LABELS[i]), key), data))
    if lists:
        lines = [f"{k}\t{LABELS[i]}\tperson{LABELS[i]}/{i}.jpg\n" for k, i in enumerate(numbers)]
        path.with_suffix(".lst").write_text("".join(lines))
    return path


def write_parts(folder, bad=(), lists=False):
    folder.mkdir()
    for p, numbers in enumerate(np.array_split(np.arange(len(LABELS)), PARTS)):
        write(folder / f"part-{p:02d}.rec", numbers.tolist(), bad, lists)
    return folder


def load(source, **settings):
    source = source if isinstance(source, list) else str(source)
    return load_faces(Data(source=source, **settings), 16)[0]


@pytest.fixture
def parts(tmp_path):
    return write_parts(tmp_path / "parts")


@pytest.fixture
def merged(tmp_path):
    return write(tmp_path / "merged.rec", range(len(LABELS)))


def ways(folder):
    files = [str(folder / f"part-{p:02d}.rec") for p in range(PARTS)]
    return [folder, folder / "part-{00..02}.rec", folder / "part-*.rec", files]


@pytest.mark.parametrize("way", range(4))
def test_parts_equal_one_file_that_holds_them_all(parts, merged, way):
    ours, whole = load(ways(parts)[way]), load(merged)
    assert len(ours) == len(LABELS)
    assert ours.labels.tolist() == whole.labels.tolist()
    assert ours.label_map == whole.label_map  # its hash too: heads of one fit the other
    assert ours.index.tolist() == whole.index.tolist() == list(range(12))
    for i in range(len(LABELS)):
        np.testing.assert_array_equal(ours[i], whole[i])
    assert ours.fingerprint == load(parts).fingerprint


def test_the_order_of_a_list_counts(parts):
    first, second, third = ways(parts)[3]
    turned = load([third, second, first])
    assert turned.fingerprint != load(parts).fingerprint
    assert turned.label_map == load(parts).label_map
    assert [round(turned[i].mean() / 15) for i in range(4)] == [8, 9, 10, 11]


def test_a_selection_for_another_process_is_small_and_reads_the_same(parts, monkeypatch):
    monkeypatch.setattr(facekd.data_tools.mapped_file, "_OPEN", 2)  # fewer than there are parts
    faces = load(parts)
    sent = pickle.dumps(faces)
    assert len(sent) < sum(f.stat().st_size for f in parts.glob("*.rec"))
    there = pickle.loads(sent)
    for i in (11, 0, 5, 1, 10, 4):
        np.testing.assert_array_equal(there[i], faces[i])
    found = open_labelled(parts)
    few = found.images.take(np.array([9, 2]))
    assert [few.where(i) for i in range(2)] == [found.images.where(9), found.images.where(2)]
    np.testing.assert_array_equal(few[1], found.images[2])


def test_damaged_records_are_named_by_their_own_file(tmp_path):
    folder = write_parts(tmp_path / "parts", bad={6})
    with pytest.raises(FacekdError, match=r"part-01\.rec record 2 at byte \d+ holds no image"):
        load(folder)
    faces = load(folder, on_bad_record="skip", max_bad=0.5)
    assert len(faces) == len(LABELS) - 1
    assert len(faces.source.skipped) == 1
    assert 6 not in faces.index
    assert sorted(faces.index) == [k for k in range(12) if k != 6]


@pytest.mark.parametrize("lists", [False, True])
def test_a_list_of_what_to_leave_out_names_images_of_all_parts(tmp_path, lists):
    folder = write_parts(tmp_path / "parts", bad={6}, lists=lists)
    names = ["person2/5.jpg", "person5/6.jpg"] if lists else ["5", "6"]  # the second is damaged
    listed = tmp_path / "drop.csv"
    people = "person11" if lists else "11"
    listed.write_text("image,identity\n" + "".join(f"{n},\n" for n in names) + f",{people}\n")
    faces = load(folder, exclude=str(listed), on_bad_record="skip", max_bad=0.5)
    assert faces.index.tolist() == [0, 1, 2, 3, 4, 7, 10, 11]


def test_names_of_the_lists_beside_all_parts_are_joint(tmp_path):
    folder = write_parts(tmp_path / "parts", lists=True)
    found = open_labelled(folder)
    assert found.names is not None
    assert [found.names[label] for label in found.labels] == [f"person{k}" for k in LABELS]
    assert list(found.ids) == [f"person{k}/{i}.jpg" for i, k in enumerate(LABELS)]
    (folder / "part-01.lst").write_text("1\t2\tx/y.jpg\n")
    with pytest.raises(FacekdError, match=r"part-01\.lst has no line for record 0"):
        open_labelled(folder)
    (folder / "part-01.lst").unlink()
    assert open_labelled(folder).names is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("part-{00..03}.rec", r"part-03\.rec does not exist"),
        ("none-*.rec", r"none-\*\.rec does not exist"),
        (["part-00.rec", "gone.rec"], r"data\.source: .*gone\.rec does not exist; a list names"),
        (["part-00.rec", "x.txt"], r"x\.txt is no \.rec file; a list names"),
        (["part-00.rec", "part-00.rec"], r"part-00\.rec is named twice"),
    ],
)
def test_what_is_no_set_of_parts(parts, source, message):
    (parts / "x.txt").write_text("x")
    named = [str(parts / s) for s in source] if isinstance(source, list) else parts / source
    with pytest.raises(FacekdError, match=message):
        load(named)


@pytest.mark.parametrize("name", ["", "part-{00..02}.rec"])
def test_parts_are_verified_one_by_one(parts, name):
    with pytest.raises(FacekdError, match=r"\.rec files: name one of them"):
        locate(parts / name)


def test_an_empty_list_is_refused():
    with pytest.raises(ValueError, match="at least 1 item"):
        Data(source=[])


def test_parts_without_their_labels(parts):
    faces = load_faces(Data(source="none", unlabelled=str(parts)), 16)[0]
    assert len(faces) == len(LABELS)
    assert set(faces.labels.tolist()) == {-1}
