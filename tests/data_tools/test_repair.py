import csv

import numpy as np
import pytest

from facekd.cli.data import main
from facekd.data_tools.binfile import read_bin, write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.items import Item
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.writers import write_set

RNG = np.random.default_rng(0)
JPEGS = [encode_jpeg(RNG.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for _ in range(12)]


def content(path):
    labelled = open_labelled(path)
    images = [bytes(labelled.images.encoded(i)) for i in range(len(labelled.images))]
    return list(zip(labelled.ids, labelled.labels.tolist(), images, strict=True))


def left_out(path):
    with open(f"{path}.left_out.csv", newline="") as file:
        return [row["record"] for row in csv.DictReader(file)]


def repaired(source, out, *, found=True):
    assert main(["verify", str(source), "--repair", str(out)]) == (2 if found else 0)
    assert main(["verify", str(out)]) == 0
    return content(out)


def items(broken=()):
    return [
        Item(f"person {i // 4}", f"{i}.jpg", i // 4 + 3, JPEGS[i][:-9] if i in broken else JPEGS[i])
        for i in range(12)
    ]


@pytest.mark.parametrize("layout", ["face2rec", "im2rec"])
@pytest.mark.parametrize("kind", ["rec", "folder", "tar"])
def test_the_copy_holds_exactly_what_is_sound(tmp_path, kind, layout):
    suffix = ".rec" if kind == "rec" else ""
    source, out = tmp_path / f"a{suffix}", tmp_path / "out" / f"b{suffix}"
    write_set(items(broken=[2, 7]), source, kind, layout=layout)
    expected = [
        (f"{i.identity}/{i.name}", i.label, i.encoded)
        for n, i in enumerate(items())
        if n not in (2, 7)
    ]
    assert repaired(source, out) == expected
    first = layout == "face2rec"
    assert left_out(out) == (
        [str(2 + first), str(7 + first)] if kind == "rec" else ["person 0/2.jpg", "person 1/7.jpg"]
    )


def test_damaged_frames_and_index_lose_no_sound_record(tmp_path):
    path = tmp_path / "a.rec"
    write_set(items(), path)
    lines = path.with_suffix(".idx").read_text().splitlines()
    offsets = [int(line.split("\t")[1]) for line in lines]
    data = bytearray(path.read_bytes())
    data[offsets[3]] ^= 1  # magic word
    data[offsets[5] + 5] ^= 1  # length
    path.write_bytes(data)
    lines[8] = f"8\t{offsets[8] + 4}"  # into the middle
    lines[9] = "10" + lines[9][1:]  # twice
    del lines[11]
    path.with_suffix(".idx").write_text("\n".join(lines))
    copied = repaired(path, tmp_path / "b.rec")
    expected = [(f"{i.identity}/{i.name}", i.label, i.encoded) for i in items()]
    assert copied == [row for n, row in enumerate(expected, 1) if n not in (3, 5)]
    assert left_out(tmp_path / "b.rec") == ["3", "5", ""]  # "": the rest of the cut record


def test_a_truncated_file_without_names_or_index(tmp_path):
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        for key in range(6):
            writer.write(key, pack(IRHeader(np.array([key // 2, 9], np.float32), key), JPEGS[key]))
    path.with_suffix(".idx").unlink()
    path.write_bytes(path.read_bytes()[:-30])
    copied = repaired(path, tmp_path / "b.rec")
    assert [(label, image) for _, label, image in copied] == [(k // 2, JPEGS[k]) for k in range(5)]


def test_a_list_without_folders_gives_labels_their_names(tmp_path):
    path = tmp_path / "a.rec"
    write_set(items(broken=[2]), path, layout="im2rec")
    path.with_suffix(".lst").write_text("0\t3\tfirst.jpg\n")
    copied = repaired(path, tmp_path / "b.rec")
    assert [name for name, *_ in copied[:3]] == ["3/first.jpg", "3/01.jpg", "3/03.jpg"]


def test_sound_set_is_copied_whole(tmp_path):
    write_set(items(), tmp_path / "a.rec")
    assert repaired(tmp_path / "a.rec", tmp_path / "b.rec", found=False) == content(
        tmp_path / "a.rec"
    )
    assert (tmp_path / "a.rec").read_bytes() == (tmp_path / "b.rec").read_bytes()
    assert left_out(tmp_path / "b.rec") == []


def test_a_bin_loses_the_pairs_of_its_bad_images(tmp_path):
    images = [*JPEGS[:3], b"x", *JPEGS[4:8]]
    write_bin(tmp_path / "a.bin", images, [True, True, False, False])
    assert main(["verify", str(tmp_path / "a.bin"), "--repair", str(tmp_path / "b.bin")]) == 2
    copy = read_bin(tmp_path / "b.bin")
    assert [bytes(image) for image in copy.encoded] == [*JPEGS[:2], *JPEGS[4:8]]
    assert copy.same.tolist() == [True, False, False]
    assert left_out(tmp_path / "b.bin") == ["3"]


def test_nothing_is_overwritten_and_the_source_least(tmp_path, capsys):
    write_set(items(broken=[1]), tmp_path / "a.rec")
    write_set(items(), tmp_path / "b.rec")
    before = (tmp_path / "b.rec").read_bytes()
    for out, told in [
        ("a.rec", "the damaged set itself"),
        ("b.rec", "exists"),
        ("c", "end it so"),
        ("a.bin", "end it so"),
    ]:
        assert main(["verify", str(tmp_path / "a.rec"), "--repair", str(tmp_path / out)]) == 2
        error = capsys.readouterr().err
        assert told in error
        assert error.count("\n") == 1
    assert (tmp_path / "b.rec").read_bytes() == before
    (tmp_path / "bad.csv").write_text("mine")
    csv_options = ["--csv", str(tmp_path / "bad.csv")]
    assert main(["verify", str(tmp_path / "a.rec"), *csv_options]) == 2
    assert (tmp_path / "bad.csv").read_text() == "mine"
    repair_options = ["--repair", str(tmp_path / "b.rec"), "--force"]
    assert main(["verify", str(tmp_path / "a.rec"), *repair_options, *csv_options]) == 2
    assert len(content(tmp_path / "b.rec")) == 11
    assert not list(tmp_path.glob(".*"))


def test_nothing_sound_is_one_sentence(tmp_path, capsys):
    write_set([Item("ann", "1.jpg", 0, b"x")], tmp_path / "a.rec")
    assert main(["verify", str(tmp_path / "a.rec"), "--repair", str(tmp_path / "b.rec")]) == 2
    assert "is sound: there is nothing to copy" in capsys.readouterr().err
    assert not (tmp_path / "b.rec").exists()
