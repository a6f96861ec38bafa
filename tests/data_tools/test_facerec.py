import pickle
from pathlib import Path

import numpy as np
import pytest

from facekd.data_tools.facerec import FaceRecords
from facekd.data_tools.recordio import IRHeader, RecordFile, RecordWriter, pack
from facekd.errors import FacekdError

MXNET = Path(__file__).parents[1] / "fixtures" / "mxnet191" / "records.rec"


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def write(path: Path, records: list[tuple[int, object, bytes]]) -> Path:
    with RecordWriter(path) as writer:
        for key, label, image in records:
            writer.write(key, pack(IRHeader(label, key), image))
    return path


def face2rec(path: Path, people: list[int], first: int = 1) -> Path:
    """`people[k]` images of identity k, record ids from `first` on, all bounds as float32."""
    bounds = first + np.cumsum([0, *people])
    end = int(bounds[-1])
    records: list[tuple[int, object, bytes]] = [(0, floats(end, end + len(people)), b"")]
    for k, count in enumerate(people):
        records += [(int(bounds[k]) + i, float(k), b"image %d.%d" % (k, i)) for i in range(count)]
    records += [(end + k, floats(*bounds[k : k + 2]), b"") for k in range(len(people))]
    return write(path, records)


def test_face2rec_as_mxnet_writes_it():
    records = FaceRecords(MXNET)
    assert records.layout == "face2rec"
    assert records.keys.tolist() == [1, 2, 3, 4, 5, 6]
    assert records.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert bytes(records.encoded(3)).startswith(b"abcd\x0a\x23\xd7\xce")
    assert bytes(records.encoded(0)).startswith(b"P6\n")
    assert records.promised == 6
    assert records.where(1) == "records.rec record 2 at byte 276"


def test_im2rec_has_no_header_record(tmp_path):
    path = write(tmp_path / "a.rec", [(0, 4.0, b"a"), (1, 2.0, b"b"), (2, 4.0, b"c")])
    records = FaceRecords(path)
    assert records.layout == "im2rec"
    assert records.keys.tolist() == [0, 1, 2]
    assert records.labels.tolist() == [4, 2, 4]
    assert [bytes(records.encoded(i)) for i in range(3)] == [b"a", b"b", b"c"]


def test_im2rec_with_vector_labels_from_record_0_on(tmp_path):
    path = write(tmp_path / "a.rec", [(0, floats(3, 1, 2), b"a"), (1, floats(5, 0, 0), b"b")])
    records = FaceRecords(path)
    assert records.layout == "im2rec"
    assert records.labels.tolist() == [3, 5]
    assert bytes(records.encoded(1)) == b"b"


def test_order_is_by_record_id_whatever_the_order_in_the_file(tmp_path):
    path = write(tmp_path / "a.rec", [(9, 1.0, b"nine"), (2, 0.0, b"two"), (5, 2.0, b"five")])
    records = FaceRecords(path)
    assert records.keys.tolist() == [2, 5, 9]
    assert [bytes(records.encoded(i)) for i in range(3)] == [b"two", b"five", b"nine"]
    path.with_suffix(".idx").unlink()
    rebuilt = FaceRecords(path)  # by the ids in the image headers
    assert rebuilt.keys.tolist() == [2, 5, 9]
    assert rebuilt.labels.tolist() == records.labels.tolist()


def test_missing_index_of_face2rec_is_rebuilt(tmp_path):
    path = face2rec(tmp_path / "a.rec", [3, 1, 2])
    with_index = FaceRecords(path)
    path.with_suffix(".idx").unlink()
    rebuilt = FaceRecords(path)
    assert rebuilt.keys.tolist() == with_index.keys.tolist() == [1, 2, 3, 4, 5, 6]
    assert rebuilt.labels.tolist() == with_index.labels.tolist() == [0, 0, 0, 1, 2, 2]


def test_ids_that_repeat_give_way_to_ordinal_numbers(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        for key in range(3):
            writer.write(key, pack(IRHeader(float(key), 7), b"x"))
    (tmp_path / "a.idx").unlink()
    assert FaceRecords(tmp_path / "a.rec").keys.tolist() == [0, 1, 2]


def test_record_ids_beyond_float32(tmp_path):
    """Above 2**24 the header and the range records name wrong ids; the index does not."""
    first = 2**24 - 3
    path = face2rec(tmp_path / "a.rec", [3, 1, 4, 1, 3], first)
    header = RecordFile(path).payload(0)
    promised = np.frombuffer(header[24:], "<f4").astype(int)
    assert FaceRecords(path).promised is None
    assert promised[0] != first + 12  # the header is rounded: this is the point of the test
    records = FaceRecords(path)
    assert records.keys.tolist() == list(range(first, first + 12))
    assert records.labels.tolist() == [0, 0, 0, 1, 2, 2, 2, 2, 3, 4, 4, 4]
    assert bytes(records.encoded(8)) == b"image 3.0"


def test_sparse_index_far_beyond_float32(tmp_path):
    big = 2**25
    items: list[tuple[int, object, bytes]] = [
        (0, floats(big + 2, big + 4), b""),
        (big - 1, 0.0, b"a"),
        (big + 1, 1.0, b"b"),
        (big + 2, floats(1, big), b""),
        (big + 3, floats(big, big + 2), b""),
    ]
    path = write(tmp_path / "a.rec", items)
    records = FaceRecords(path)
    assert records.keys.tolist() == [2**25 - 1, 2**25 + 1]
    assert records.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("label", "image", "message"),
    [
        (float("nan"), b"x", "has the label nan"),
        (-1.0, b"x", "has the label -1"),
        (1.5, b"x", r"has the label 1\.5"),
        (float("inf"), b"x", "has the label inf"),
        (2.0**25, b"x", "has the label 3"),
        (floats(-2, 0), b"x", "has the label -2"),
        (1.0, b"", "holds no image bytes"),
    ],
)
def test_bad_record_is_an_error_or_left_out(tmp_path, label, image, message):
    path = write(tmp_path / "a.rec", [(0, 0.0, b"a"), (1, label, image), (2, 1.0, b"b")])
    with pytest.raises(FacekdError, match=r"a\.rec record 1 at byte 36.*" + message):
        FaceRecords(path)
    records = FaceRecords(path, on_bad_record="skip")
    assert records.keys.tolist() == [0, 2]
    assert len(records.skipped) == 1
    assert "record 1" in records.skipped[0]
    assert records.skipped_keys == [1]
    taken = records.take(np.array([1]))
    assert (taken.keys.tolist(), taken.skipped, taken.skipped_keys) == ([2], [], [])


@pytest.mark.parametrize("several", [False, True])
def test_bits_that_are_no_number_are_told_without_a_warning(tmp_path, several, recwarn):
    path = write(tmp_path / "a.rec", [(0, floats(0, 1) if several else 0.0, b"a"), (1, 1.0, b"b")])
    data = bytearray(path.read_bytes())
    at = 32 if several else 12
    data[at : at + 4] = (0x7F800001).to_bytes(4, "little")  # a signalling NaN
    path.write_bytes(data)
    with pytest.raises(FacekdError, match=r"record 0 at byte 0 has the label nan"):
        FaceRecords(path)
    assert FaceRecords(path, on_bad_record="skip").keys.tolist() == [1]
    assert not [str(warning.message) for warning in recwarn]


def test_truncated_file_is_an_error_at_once(tmp_path):
    path = face2rec(tmp_path / "a.rec", [3, 3])
    path.write_bytes(path.read_bytes()[:150])
    with pytest.raises(FacekdError, match=r"a\.rec record 3 at byte 128: .*cut short"):
        FaceRecords(path)
    assert FaceRecords(path, on_bad_record="skip").keys.tolist() == [1, 2]


def test_payload_that_is_too_short_for_a_header(tmp_path):
    with RecordWriter(tmp_path / "a.rec") as writer:
        writer.write(0, b"not an image record")
    with pytest.raises(FacekdError, match="record 0 at byte 0: a payload of 19 bytes is shorter"):
        FaceRecords(tmp_path / "a.rec")


def test_file_of_nothing_but_a_header_record(tmp_path):
    path = write(tmp_path / "a.rec", [(0, floats(1, 1), b"")])
    with pytest.raises(FacekdError, match="holds no images"):
        FaceRecords(path)


def test_fingerprint_is_of_the_labels_not_their_order(tmp_path):
    items = [(k, float(k % 3), b"%d" % k) for k in range(10)]
    records = FaceRecords(write(tmp_path / "a.rec", items))
    shuffled = [(n, items[k][1], items[k][2]) for n, k in enumerate([3, 1, 9, 0, 2, 8, 5, 4, 7, 6])]
    assert FaceRecords(write(tmp_path / "b.rec", shuffled)).fingerprint == records.fingerprint
    fewer = FaceRecords(write(tmp_path / "c.rec", items[:9]))
    assert fewer.fingerprint != records.fingerprint
    assert records.fingerprint == "d308280607958a22"  # must not change: caches are named by it


def test_pickles_without_its_bytes(tmp_path):
    records = FaceRecords(face2rec(tmp_path / "a.rec", [2, 2]))
    copy = pickle.loads(pickle.dumps(records))
    assert bytes(copy.encoded(3)) == b"image 1.1"
    assert copy.fingerprint == records.fingerprint


def test_reading_is_spread_over_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr("facekd.data_tools.columns._BLOCK", 4)
    records = FaceRecords(face2rec(tmp_path / "a.rec", [3, 1, 4, 1, 5]))
    assert records.labels.tolist() == [0] * 3 + [1] + [2] * 4 + [3] + [4] * 5


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "people", "images"),
    [("cfp_train", 324, 4536), ("lfw_train", 4859, 10562), ("formats/face2rec", 30, 300)],
)
def test_real_face2rec_files(data_dir, name, people, images):
    records = FaceRecords(data_dir / name / "train.rec")
    assert records.layout == "face2rec"
    assert records.keys.tolist() == list(range(1, images + 1))
    assert np.array_equal(np.unique(records.labels), np.arange(people))
    for i in range(0, images, images // 50):
        assert bytes(records.encoded(i)[:3]) == b"\xff\xd8\xff"


@pytest.mark.data
def test_lfw_people_with_two_or_more(data_dir):
    counts = np.bincount(FaceRecords(data_dir / "lfw_train" / "train.rec").labels)
    assert (int((counts >= 2).sum()), int(counts[counts >= 2].sum())) == (1334, 7037)
