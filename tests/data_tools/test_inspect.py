import io
import json
import tarfile

import cv2
import numpy as np
import pytest

from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.inspect import inspect
from facekd.data_tools.items import Item
from facekd.data_tools.kinds import locate
from facekd.data_tools.labelmap import LabelMap
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.writers import write_set
from facekd.errors import FacekdError


def jpeg(height: int = 12, width: int = 10, quality: int = 95) -> bytes:
    return encode_jpeg(np.full((height, width, 3), 90, np.uint8), quality)


def look(path, **settings):
    return json.loads(json.dumps(inspect(locate(path), **settings)))


def test_records_in_a_folder(tmp_path):
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, label in enumerate([3, 3, 3, 8, 9, 9, 9]):
            image = b"broken" if key == 5 else jpeg(20) if key == 2 else jpeg()
            writer.write(key + 10, pack(IRHeader(float(label), key), image))
    found = look(tmp_path)
    assert found["kind"] == "records (im2rec layout)"
    assert (found["images"], found["identities"]) == (7, 3)
    assert found["images_per_identity"] == {"min": 1, "median": 3.0, "p95": 3.0, "max": 3}
    assert found["histogram"] == {"1": 1, "2-3": 2}
    assert found["labels"] == [3, 9]
    assert found["record_ids"] == [10, 16]
    assert found["image_sizes"] == {"12x10": 5, "20x10": 1, "undecodable": 1}
    assert found["encoding"] == {"JPEG YCbCr": 6, "other": 1}
    assert found["jpeg_quality"] == {"95": 6}
    assert found["label_map_hash"] == LabelMap(("3", "8", "9"), found["fingerprint"]).hash
    for beside in ("train.rec", "train.idx"):
        assert look(tmp_path / beside) == found


def test_histogram_has_the_empty_bins_between(tmp_path):
    items = [Item(f"p{k}", f"{i}.jpg", k, jpeg()) for k, n in ((0, 2), (1, 17)) for i in range(n)]
    write_set(items, tmp_path / "a.rec")
    assert look(tmp_path / "a.rec")["histogram"] == {"2-3": 1, "4-7": 0, "8-15": 0, "16-31": 1}


def test_lost_index_lines_show(tmp_path):
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        writer.write(0, pack(IRHeader(np.array([4, 5]), 0), b""))
        for key in [1, 2, 3]:
            writer.write(key, pack(IRHeader(0.0, key), jpeg()))
        writer.write(4, pack(IRHeader(np.array([1, 4]), 4), b""))
    assert "images_in_header" not in look(path)
    index = path.with_suffix(".idx")
    index.write_text("".join(index.read_text().splitlines(keepends=True)[:3]))
    found = look(path)
    assert (found["images"], found["images_in_header"]) == (2, 3)


def test_damaged_records_are_counted(tmp_path):
    path = tmp_path / "a.rec"
    write_set([Item("ann", f"{i}.jpg", 0, jpeg()) for i in range(3)], path)
    content = bytearray(path.read_bytes())
    content[int(path.with_suffix(".idx").read_text().split()[5])] ^= 1
    path.write_bytes(content)
    found = look(path)
    assert (found["images"], found["bad_records"]) == (2, 1)


def test_shards_that_name_nobody_have_the_map_that_training_makes(tmp_path):
    from facekd.data.sources import NamedSource

    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for key, label in enumerate([5, 5, 2]):
            for name, content in ((f"{key}.jpg", jpeg()), (f"{key}.cls", b"%d" % label)):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    facts = look(tmp_path / "a.tar")
    assert (facts["identities"], facts["names"]) == (2, "no (labels only)")
    source = NamedSource(tmp_path / "a.tar")
    assert facts["label_map_hash"] == LabelMap(source.names, source.label_space).hash


@pytest.mark.parametrize("kind", ["rec", "folder", "tar"])
def test_the_same_set_in_every_kind(tmp_path, kind):
    grey = cv2.imencode(".jpg", np.full((12, 10), 90, np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
    png = cv2.imencode(".png", np.full((12, 10, 3), 90, np.uint8))[1].tobytes()
    images = [jpeg(), grey.tobytes(), png, jpeg(), jpeg(quality=60)]
    names = ["1.jpg", "2.jpg", "3.png", "4.jpg", "5.jpg"]
    people = ["ann", "ann", "ann", "bob", "bob"]
    items = [
        Item(who, name, int(who == "bob"), image)
        for who, name, image in zip(people, names, images, strict=True)
    ]
    path = tmp_path / ("a.rec" if kind == "rec" else "a")
    write_set(items, path, kind)
    for full in (False, True):
        found = look(path, full=full, workers=2)
        assert (found["images"], found["identities"], found["looked_at"]) == (5, 2, 5)
        assert found["encoding"] == {"JPEG YCbCr": 3, "JPEG grey": 1, "PNG": 1}
        assert found["jpeg_quality"] == {"95": 2, "70": 1, "60": 1}
        assert found["duplicates"] == {"images": 1, "of_another_identity": 1}
        assert found["names"] == "yes"
    if kind != "rec":
        assert found["label_map_hash"] == LabelMap(("ann", "bob")).hash


def test_a_sample_is_spread_and_full_is_all(tmp_path):
    items = [Item("ann", f"{i}.jpg", 0, jpeg(12 + i // 300)) for i in range(600)]
    write_set(items, tmp_path / "a.rec")
    sample, full = look(tmp_path / "a.rec"), look(tmp_path / "a.rec", full=True)
    assert sample["looked_at"] == 500
    assert sample["image_sizes"] == {"12x10": 250, "13x10": 250}
    assert full["looked_at"] == 600
    assert full["image_sizes"] == {"12x10": 300, "13x10": 300}
    assert full["duplicates"]["images"] == 598


def test_verification_set(tmp_path):
    write_bin(tmp_path / "a.bin", [jpeg()] * 5 + [jpeg(13)], [True, False, False])
    found = look(tmp_path / "a.bin")
    assert (found["pairs"], found["genuine_pairs"], found["impostor_pairs"]) == (3, 1, 2)
    assert (found["images"], found["different_images"]) == (6, 2)
    assert found["image_sizes"] == {"12x10": 5, "13x10": 1}
    write_bin(tmp_path / "b.bin", [jpeg()] * 2, [True])
    assert look(tmp_path / "b.bin")["impostor_pairs"] == 0


def test_lists_need_no_images(tmp_path):
    (tmp_path / "pairs.txt").write_text("1\t2\nann\t1\t2\nbob\t1\t2\nann\t1\tbob\t1\nann 2 bob 2\n")
    found = look(tmp_path / "pairs.txt")
    assert (found["genuine_pairs"], found["impostor_pairs"]) == (2, 2)
    assert (found["images"], found["images_there"], found["identities"]) == (4, 0, 2)
    (tmp_path / "p.csv").write_text("a,b,same\nx/1.jpg,x/2.jpg,1\nx/1.jpg,y/1.jpg,0\n")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "1.jpg").write_bytes(jpeg())
    found = look(tmp_path / "p.csv")
    assert (found["pairs"], found["images"], found["images_there"]) == (2, 3, 1)
    (tmp_path / "bad.csv").write_text("record,offset,reason\n1,2,because\n")
    assert look(tmp_path / "bad.csv")["columns"] == "record, offset, reason"
    (tmp_path / "a.lst").write_text("0\t3\tann/1.jpg\n1\t3\tann/2.jpg\n5\t4\tbob/1.jpg\n")
    found = look(tmp_path / "a.lst")
    assert (found["images"], found["identities"], found["record_ids"]) == (3, 2, [0, 5])


def test_image_and_label_map(tmp_path):
    (tmp_path / "a.jpg").write_bytes(jpeg(quality=77))
    assert look(tmp_path / "a.jpg")["jpeg_quality"] == {"77": 1}
    names = LabelMap(("ann", "bob"))
    names.save(tmp_path / "labels.json")
    found = look(tmp_path / "labels.json")
    assert (found["kind"], found["label_map_hash"]) == ("label map", names.hash)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("a.zip", r"a\.zip is of no kind .* known: \.bin"),
        ("a.recs", r"did you mean '\.rec'"),
        ("nothing", "does not exist"),
        ("empty.rec", "is empty"),
        ("empty", "is an empty folder"),
        ("x.rec", "x.rec has no sub-folders"),
        ("alone.idx", "is an index, and there is no alone.rec"),
        ("two", "holds 2 .rec files"),
        ("pipe.rec", "neither a file nor a folder"),
        ("a\0b", "does not exist"),
        ("loop.rec", "symbolic links|does not exist"),
        ("odd.json", "no label map"),
        ("odd.tar", "no sound tar"),
        ("odd.bin", "not a verification set|damaged pickle"),
        ("odd.jpg", ""),
    ],
)
def test_what_cannot_be_told_is_one_sentence(tmp_path, name, told):
    import os

    for file in ("a.zip", "a.recs", "odd.json", "odd.tar", "odd.bin", "odd.jpg", "alone.idx"):
        (tmp_path / file).write_bytes(b"odd")
    (tmp_path / "empty.rec").write_bytes(b"")
    for folder in ("empty", "x.rec", "two"):
        (tmp_path / folder).mkdir()
    for file in ("x.rec/notes", "two/a.rec", "two/b.rec"):
        (tmp_path / file).write_bytes(b"odd")
    os.mkfifo(tmp_path / "pipe.rec")
    (tmp_path / "loop.rec").symlink_to(tmp_path / "loop.rec")
    if not told:
        assert look(tmp_path / name)["image_sizes"] == {"undecodable": 1}
        return
    with pytest.raises(FacekdError, match=told):
        inspect(locate(tmp_path / name))


def test_what_may_not_be_read_is_one_sentence(tmp_path, monkeypatch):
    import os

    (tmp_path / "a" / "ann").mkdir(parents=True)

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(FacekdError, match=r"cannot read .*: Permission denied"):
        locate(tmp_path / "a")


@pytest.mark.data
def test_real_files(data_dir):
    found = look(data_dir / "cfp_train")
    assert (found["images"], found["identities"]) == (4536, 324)
    assert found["images_per_identity"] == {"min": 14, "median": 14.0, "p95": 14.0, "max": 14}
    assert found["image_sizes"] == {"112x112": 500}
    assert found["jpeg_quality"] == {"95": 500}
    assert look(data_dir / "formats" / "small_lfw.bin")["genuine_pairs"] == 10
    found = look(data_dir / "formats" / "face2rec", full=True)
    assert (found["looked_at"], found["encoding"]) == (300, {"JPEG YCbCr": 300})
    found = look(data_dir / "lfw" / "lfw.bin")
    assert (found["different_images"], found["genuine_pairs"]) == (7701, 3000)
    assert look(data_dir / "lfw" / "pairs.txt")["identities"] == 4281
