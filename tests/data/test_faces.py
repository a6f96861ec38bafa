import numpy as np
import pytest

from facekd.data.faces import load_faces
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.errors import FacekdError
from facekd.recipe import Data

# record id -> label; ids have gaps and labels too
RECORDS = {3: 7, 4: 7, 9: 7, 10: 2, 12: 2, 20: 5, 21: 5, 22: 5, 23: 5, 30: 11}


def shade(key):
    return encode_jpeg(np.full((32, 32, 3), 5 * key, np.uint8))


def write(path, records=RECORDS):
    with RecordWriter(path) as writer:
        for key, label in records.items():
            writer.write(key, pack(IRHeader(float(label), key), shade(key)))
    return path


@pytest.fixture
def rec(tmp_path):
    return write(tmp_path / "train.rec")


def load(path, size=32, **settings):
    return load_faces(Data(source=str(path), **settings), size)


def test_everything_by_default(rec):
    faces, holdout = load(rec)
    assert holdout is None
    assert faces.index.tolist() == list(RECORDS)
    assert faces.label_map.names == ("2", "5", "7", "11")
    names = [faces.label_map.names[k] for k in faces.labels]
    assert names == [str(label) for label in RECORDS.values()]
    assert faces.num_classes == 4


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({"min_images": 3}, {7, 5}),
        ({"max_identities": 2}, {2, 5}),
        ({"min_images": 2, "max_identities": 2}, {2, 5}),
    ],
)
def test_selection_of_people(rec, settings, kept):
    faces, _ = load(rec, **settings)
    assert faces.index.tolist() == [key for key, label in RECORDS.items() if label in kept]
    assert set(faces.label_map.names) == {str(label) for label in kept}
    assert sorted(set(faces.labels.tolist())) == list(range(len(kept)))
    for i, key in enumerate(faces.index):  # the picture still belongs to its id
        assert abs(int(faces[i].mean()) - 5 * key) <= 2


def test_holdout_shares_no_person_and_no_record(rec):
    faces, held = load(rec, holdout=2, holdout_seed=1)
    assert held.num_classes == 2
    assert not set(faces.label_map.names) & set(held.label_map.names)
    assert not set(faces.index.tolist()) & set(held.index.tolist())
    again = load(rec, holdout=2, holdout_seed=1)[1]
    assert again.index.tolist() == held.index.tolist()
    assert "11" not in held.label_map.names  # one image makes no genuine pair


def test_too_much_is_asked_for(rec):
    with pytest.raises(FacekdError, match=r"4 people asked for, but .* has 3 with two or more"):
        load(rec, holdout=4)
    with pytest.raises(FacekdError, match="1 identities with 4 images are left"):
        load(rec, holdout=2, min_images=2)
    with pytest.raises(FacekdError, match="0 identities with 0 images are left"):
        load(rec, min_images=9)


def test_label_map_hash_is_stable_and_tells_data_apart(rec, tmp_path):
    first = load(rec)[0].label_map
    assert first.hash == load(rec)[0].label_map.hash
    (tmp_path / "copy").mkdir()
    assert first.hash == load(write(tmp_path / "copy" / "b.rec"))[0].label_map.hash
    assert first.hash != load(rec, min_images=2)[0].label_map.hash
    other = write(tmp_path / "other.rec", RECORDS | {31: 11})  # the same labels, other people
    assert first.hash != load(other)[0].label_map.hash


def test_fingerprint_follows_images_selection_and_size(rec, tmp_path):
    whole = load(rec)[0].fingerprint
    assert whole == load(rec)[0].fingerprint
    others = [
        load(rec, min_images=2)[0].fingerprint,
        load(rec, size=48)[0].fingerprint,
        load(write(tmp_path / "o.rec", RECORDS | {31: 11}))[0].fingerprint,
    ]
    assert whole not in others


def test_folder_and_resizing(tmp_path):
    for name, shades in {"bea": [40, 50], "al": [60]}.items():
        (tmp_path / "f" / name).mkdir(parents=True)
        for k, value in enumerate(shades):
            image = np.full((20, 30, 3), value, np.uint8)
            (tmp_path / "f" / name / f"{k}.jpg").write_bytes(encode_jpeg(image))
    faces, _ = load(tmp_path / "f")
    assert faces.label_map.names == ("al", "bea")
    assert [int(faces[i].mean()) for i in range(3)] == [60, 40, 50]
    assert faces[0].shape == (32, 32, 3)
    assert faces[0].dtype == np.uint8


def test_damaged_frames_are_told_or_counted(rec):
    data = bytearray(rec.read_bytes())
    at = int(rec.with_suffix(".idx").read_text().split("\n")[4].split("\t")[1])
    data[at] ^= 0xFF  # the magic word of record 12
    rec.write_bytes(data)
    with pytest.raises(FacekdError, match=f"train.rec record 12 at byte {at}: no record starts"):
        load(rec)
    faces, _ = load(rec, on_bad_record="skip", max_bad=0.2)
    assert faces.index.tolist() == [key for key in RECORDS if key != 12]
    assert len(faces.source.skipped) == 1
    assert "record 12 at byte" in faces.source.skipped[0]
    with pytest.raises(FacekdError, match=r"1 of 10 records .*max_bad=0.05 allows.*record 12"):
        load(rec, on_bad_record="skip", max_bad=0.05)


def test_unknown_sources_are_told(tmp_path):
    (tmp_path / "x.zip").write_bytes(b"PK")
    with pytest.raises(FacekdError, match="is of no known kind"):
        load(tmp_path / "x.zip")
    with pytest.raises(FacekdError, match="does not exist"):
        load(tmp_path / "y.rec")
