import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.cli.data import main
from facekd.data_tools.convert import convert
from facekd.data_tools.facerec import FaceRecords
from facekd.data_tools.items import Item, Items
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.writers import write_set
from facekd.errors import FacekdError

MXNET = Path(__file__).parents[1] / "fixtures" / "mxnet191" / "records.rec"
JPEG = b"\xff\xd8not a picture, but nobody looks\xff\xd9"


@pytest.fixture(scope="module", autouse=True)
def no_flush():
    """Flushing the whole disk is slow where others write to it too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "sync", lambda: None)
        patch.setattr(os, "fsync", lambda handle: None)
        yield


def im2rec(path: Path, labels=(7, 3, 3, 900), first=0, order=None) -> Path:
    """Plain records with gaps in their labels, some with several labels, in any order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with RecordWriter(path) as writer:
        for i in order or range(len(labels)):
            label = np.array([labels[i], 0.1], np.float32) if i % 3 == 2 else float(labels[i])
            writer.write(first + i, pack(IRHeader(label, first + i), JPEG + b"%c" % (i % 256)))
    return path


def same_bytes(one: Path, other: Path) -> bool:
    pairs = [(one.with_suffix(s), other.with_suffix(s)) for s in (".rec", ".idx")]
    return all(a.read_bytes() == b.read_bytes() for a, b in pairs)


def content(path) -> list[Item]:
    return [
        item._replace(encoded=bytes(item.encoded), vector=None)
        for item in Items(open_labelled(path))
    ]


@pytest.mark.parametrize("middle", ["folder", "tar", "rec"])
@pytest.mark.parametrize("layout", ["face2rec", "im2rec"])
@pytest.mark.parametrize("shuffle", [None, 5])
def test_every_byte_comes_back(tmp_path, middle, layout, shuffle):
    start = MXNET if layout == "face2rec" else im2rec(tmp_path / "plain.rec")
    between = tmp_path / "between" / ("a.rec" if middle == "rec" else "a")
    convert(start, between, to=middle, shuffle=shuffle)
    done = convert(between, tmp_path / "back" / "b.rec")
    assert (done.kind, done.layout) == ("rec", layout)
    if middle == "rec" and shuffle is not None:
        # A .rec keeps its images' numbers, and is written back in the order of those.
        assert between.read_bytes() != start.read_bytes()
    assert same_bytes(start, tmp_path / "back" / "b.rec")
    assert sorted(p.name for p in tmp_path.glob("**/.*")) == []


def test_layouts_into_each_other(tmp_path):
    start = im2rec(tmp_path / "plain.rec", labels=(7, 3, 7, 900))
    convert(start, tmp_path / "faces.rec", layout="face2rec")
    faces = FaceRecords(tmp_path / "faces.rec")
    assert (faces.layout, faces.promised) == ("face2rec", 4)
    assert faces.labels.tolist() == [3, 7, 7, 900]
    assert faces.keys.tolist() == [1, 2, 3, 4]
    assert (tmp_path / "property").read_text() == "901,112,112\n"
    convert(tmp_path / "faces.rec", tmp_path / "again.rec", layout="im2rec")
    again = FaceRecords(tmp_path / "again.rec")
    assert again.layout == "im2rec"
    assert again.keys.tolist() == [0, 1, 2, 3]
    assert [bytes(again.encoded(i))[-1] for i in range(4)] == [1, 0, 2, 3]


def test_names_go_with_the_images(tmp_path):
    for name in ("Åsa B/1.jpg", "Åsa B/x.y.jpg", "zoë/2.png", "zoë/10.jpg"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(JPEG + name.encode())
    start = content(tmp_path / "in")
    convert(tmp_path / "in", tmp_path / "a.rec")
    found = open_labelled(tmp_path / "a.rec")
    assert tuple(found.names) == ("zoë", "Åsa B")
    assert list(found.ids) == ["zoë/2.png", "zoë/10.jpg", "Åsa B/1.jpg", "Åsa B/x.y.jpg"]
    convert(tmp_path / "a.rec", tmp_path / "b", to="tar", shuffle=1)
    convert(tmp_path / "b", tmp_path / "c")
    assert [item._replace(key=None) for item in content(tmp_path / "c")] == start
    assert (tmp_path / "a.lst").read_text(encoding="utf-8").startswith("1\t0\tzoë/2.png\n2\t0\t")


def refusal(work, *arguments, **options) -> str:
    """The sentence with which something was refused; empty where it was done."""
    try:
        work(*arguments, **options)
    except FacekdError as error:
        return str(error)
    return ""


NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cf", "Zl", "Zp"))
    | st.sampled_from(" .aAbB-_é"),
    min_size=1,
    max_size=60,
).filter(lambda text: "/" not in text and "\\" not in text and text not in (".", ".."))


def test_a_name_that_is_its_record_number_stays(tmp_path):
    write_set([Item("a", "x.jpg", 0, JPEG), Item("a", "2", 0, JPEG)], tmp_path / "a.rec")
    assert [item.name for item in content(tmp_path / "a.rec")] == ["x.jpg", "2"]
    convert(tmp_path / "a.rec", tmp_path / "b.tar")
    assert [item.name for item in content(tmp_path / "b.tar")] == ["x.jpg", "2"]


@settings(max_examples=40, deadline=None)
@given(
    people=st.dictionaries(
        st.integers(0, 9) | st.integers(0, 2**24),
        st.tuples(NAMES, st.lists(NAMES, min_size=1, max_size=3, unique=True)),
        min_size=1,
        max_size=4,
    )
)
def test_any_label_and_name_survives_or_is_refused(tmp_path_factory, people):
    root = tmp_path_factory.mktemp("names")
    items = [
        Item(identity, name, label, JPEG + name.encode())
        for label, (identity, names) in sorted(people.items())
        for name in names
    ]
    refused = refusal(write_set, items, root / "a.rec")
    if refused:
        assert "the path" in refused
        assert os.listdir(root) == []
        return
    wanted = [(i.identity, i.name, i.label, i.encoded) for i in items]
    assert [i[:4] for i in content(root / "a.rec")] == wanted
    convert(root / "a.rec", root / "b.tar")
    assert [i[:4] for i in content(root / "b.tar")] == wanted
    refused = refusal(convert, root / "b.tar", root / "c", to="folder")
    if refused:  # two images of one name
        assert "two images are called" in refused
        return
    convert(root / "c", root / "d.rec")
    assert same_bytes(root / "a.rec", root / "d.rec")
    assert (root / "a.lst").read_bytes() == (root / "d.lst").read_bytes()


def test_a_very_long_name_is_one_sentence(tmp_path):
    with pytest.raises(FacekdError, match=r"too long \(at most 255 bytes a part"):
        write_set([Item("ann", "é" * 128, 0, JPEG)], tmp_path / "a.rec")
    write_set([Item("ann", "é" * 127, 0, JPEG)], tmp_path / "a.rec")
    convert(tmp_path / "a.rec", tmp_path / "b")
    assert content(tmp_path / "b")[0].name == "é" * 127


def test_names_equal_up_to_case_stay_apart(tmp_path):
    items = [Item(who, "1.jpg", n, JPEG + who.encode()) for n, who in enumerate(("Ann", "ann"))]
    write_set(items, tmp_path / "a.rec")
    refused = refusal(convert, tmp_path / "a.rec", tmp_path / "b")
    if refused:  # a file system that cannot tell them apart
        assert "two images are called" in refused
        return
    assert [i.encoded for i in content(tmp_path / "b")] == [i.encoded for i in items]


def test_without_an_index_and_out_of_order(tmp_path):
    start = im2rec(tmp_path / "a.rec", labels=(1, 2, 3, 4), order=[2, 0, 3, 1])
    (tmp_path / "a.idx").unlink()
    convert(start, tmp_path / "b.rec")
    assert [bytes(e.encoded)[-1] for e in content(tmp_path / "b.rec")] == [0, 1, 2, 3]


def bad(capsys, *arguments) -> str:
    assert main(["convert", *map(str, arguments)]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("error: ")
    return error


def test_bad_input_is_one_sentence(tmp_path, capsys):
    rec = im2rec(tmp_path / "a.rec")
    out = tmp_path / "out"
    assert "does not exist" in bad(capsys, tmp_path / "none.rec", out)
    (tmp_path / "empty.rec").touch()
    assert "is empty" in bad(capsys, tmp_path / "empty.rec", out)
    (tmp_path / "x.zip").write_bytes(b"PK")
    assert "is of no known kind" in bad(capsys, tmp_path / "x.zip", out)
    (tmp_path / "nobody").mkdir()
    assert "has no sub-folders" in bad(capsys, tmp_path / "nobody", out)
    assert "stands for no kind of set" in bad(capsys, rec, tmp_path / "out.zip")
    assert "does not end in .rec" in bad(capsys, rec, out, "--to", "rec")
    assert "are the same" in bad(capsys, rec, rec, "--force")
    assert "one inside the other" in bad(capsys, tmp_path, tmp_path / "sub")
    assert "one inside the other" in bad(capsys, rec, tmp_path, "--force")
    assert "no folder with a pairs.csv" in bad(capsys, rec, tmp_path / "x.bin")
    assert not out.exists()


def test_nothing_is_overwritten_unasked(tmp_path, capsys):
    rec = im2rec(tmp_path / "in" / "a.rec")
    out = tmp_path / "out"
    convert(rec, out)
    before = sorted(p.name for p in out.iterdir())
    assert "not empty" in bad(capsys, rec, out)
    assert main(["convert", str(MXNET), str(out), "--force"]) == 0
    assert sorted(p.name for p in out.iterdir()) != before
    convert(rec, tmp_path / "b.rec")
    assert "b.rec exists" in bad(capsys, rec, tmp_path / "b.rec")
    (tmp_path / "b.rec").unlink()
    assert "b.idx exists" in bad(capsys, rec, tmp_path / "b.rec")
    mine = tmp_path / "home"
    mine.mkdir()
    (mine / "diary.txt").write_text("dear diary")
    assert "was not written by facekd" in bad(capsys, rec, mine, "--force")
    assert (mine / "diary.txt").read_text() == "dear diary"


def test_into_an_empty_folder(tmp_path, monkeypatch):
    rec = im2rec(tmp_path / "in" / "a.rec")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    convert(rec, ".")
    assert len(content(tmp_path / "out")) == 4


def test_another_sets_property_stays(tmp_path):
    convert(MXNET, tmp_path / "a.rec")
    assert (tmp_path / "property").read_text() == "2,8,8\n"
    convert(im2rec(tmp_path / "in" / "x.rec"), tmp_path / "b.rec", layout="face2rec")
    assert (tmp_path / "property").read_text() == "2,8,8\n"


def test_a_damaged_record_is_named_or_left_out(tmp_path, capsys):
    rec = im2rec(tmp_path / "a.rec", labels=(1, 1, 2))
    data = bytearray(rec.read_bytes())
    data[data.index(JPEG) - 32] ^= 0xFF  # the first record's magic word
    rec.write_bytes(data)
    assert "a.rec record 0 at byte 0" in bad(capsys, rec, tmp_path / "b.rec")
    assert not (tmp_path / "b.rec").exists()
    out = tmp_path / "b.rec"
    assert main(["convert", str(rec), str(out), "--on-bad-record", "skip"]) == 0
    told = capsys.readouterr()
    assert "2 images (im2rec layout), 1 left out" in told.out
    assert "left out: a.rec record 0 at byte 0" in told.err
    assert FaceRecords(out).keys.tolist() == [1, 2]


def test_an_empty_image_is_named_or_left_out(tmp_path, capsys):
    convert(MXNET, tmp_path / "a")
    (tmp_path / "a/0/2.ppm").write_bytes(b"")
    assert "0/2.ppm holds no image bytes" in bad(capsys, tmp_path / "a", tmp_path / "b.rec")
    done = convert(tmp_path / "a", tmp_path / "b.rec", on_bad_record="skip")
    assert (done.count, len(done.skipped)) == (5, 1)
    again = FaceRecords(tmp_path / "b.rec")
    assert (again.promised, again.keys.tolist()) == (5, [1, 2, 3, 4, 5])


def test_a_list_that_does_not_fit_is_refused(tmp_path):
    convert(MXNET, tmp_path / "a")
    (tmp_path / "a/1/5.ppm").rename(tmp_path / "a/1/5.old")
    with pytest.raises(FacekdError, match=r"images\.lst lists 1/5\.ppm, which is not there"):
        convert(tmp_path / "a", tmp_path / "b.rec")
    (tmp_path / "a/1/5.ppm").write_bytes(JPEG)
    (tmp_path / "a/1/new.jpg").write_bytes(JPEG)
    with pytest.raises(FacekdError, match=r"does not list 1/new\.jpg \(1 such\)"):
        convert(tmp_path / "a", tmp_path / "b.rec")
    convert(MXNET, tmp_path / "c.rec")
    listed = (tmp_path / "c.lst").read_text().splitlines()
    (tmp_path / "c.lst").write_text("\n".join(listed[:-1]))
    with pytest.raises(FacekdError, match=r"c\.lst has no line for record 6 \(1 of 6"):
        open_labelled(tmp_path / "c.rec")
    (tmp_path / "c.lst").write_text("\n".join([*listed[:-1], "6\t5\t1/6.ppm"]))
    with pytest.raises(FacekdError, match=r"record 6 the label 5, c\.rec record 6 .* has 1: it"):
        open_labelled(tmp_path / "c.rec")


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch, capsys):
    rec = im2rec(tmp_path / "in" / "a.rec")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("facekd.data_tools.folder_writer.FolderWriter.append", full)
    monkeypatch.setattr("facekd.data_tools.recordio.RecordWriter.append", full)
    for out in (tmp_path / "out", tmp_path / "out.rec"):
        assert "No space left on device; free space" in bad(capsys, rec, out)
        assert os.listdir(tmp_path) == ["in"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_is_full_at_the_last_flush(tmp_path, monkeypatch):
    opened = Path.open

    def redirect(self, mode="r", *args, **kwargs):
        target = Path("/dev/full") if self.suffix == ".tar" and "w" in mode else self
        return opened(target, mode, *args, **kwargs)

    rec = im2rec(tmp_path / "in" / "a.rec")
    monkeypatch.setattr(Path, "open", redirect)
    with pytest.raises(FacekdError, match="No space left on device"):
        convert(rec, tmp_path / "out.tar")
    assert os.listdir(tmp_path) == ["in"]


SLOW = """
import sys, time
from facekd.data_tools.convert import convert
def slowly(items, count):
    for item in items:
        print("one", flush=True)
        yield item
        time.sleep(30)
convert(sys.argv[1], sys.argv[2], force=True, watch=slowly)
"""


def test_killed_it_leaves_a_hidden_folder_that_the_next_run_clears(tmp_path):
    rec = im2rec(tmp_path / "in" / "a.rec")
    out = tmp_path / "out"
    command = [sys.executable, "-c", SLOW, str(rec), str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"one\n"
    with pytest.raises(FacekdError, match="another run is writing"):
        convert(rec, out)
    process.kill()
    process.wait()
    assert sorted(os.listdir(tmp_path)) == [".out.part", "in"]
    convert(rec, out)
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]
    assert len(content(out)) == 4


def test_interrupted_it_leaves_nothing(tmp_path):
    rec = im2rec(tmp_path / "in" / "a.rec")

    def interrupt(items, count):
        yield next(iter(items))
        raise KeyboardInterrupt

    for out in ("out", "out.rec", "out.tar"):
        with pytest.raises(KeyboardInterrupt):
            convert(rec, tmp_path / out, watch=interrupt)
    assert os.listdir(tmp_path) == ["in"]


def test_memory_does_not_grow_with_the_images(tmp_path):
    import tracemalloc

    big = os.urandom(1 << 18)
    with RecordWriter(tmp_path / "a.rec") as writer:
        for i in range(200):
            writer.write(i, pack(IRHeader(0.0, i), JPEG + big))
    tracemalloc.start()
    convert(tmp_path / "a.rec", tmp_path / "b.rec")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20  # of 50 MB


def test_ten_thousand_records_in_a_moment(tmp_path):
    start = im2rec(tmp_path / "a.rec", labels=range(10_000))
    begin = time.process_time()
    convert(start, tmp_path / "b.rec")
    assert time.process_time() - begin < 5  # alone on a machine a quarter of a second


@pytest.mark.data
@pytest.mark.parametrize("middle", ["folder", "tar", "rec"])
def test_real_records_come_back(tmp_path, data_dir, middle):
    start = data_dir / "formats" / "face2rec" / "train.rec"
    convert(start, tmp_path / "between.rec" if middle == "rec" else tmp_path / "b", to=middle)
    between = tmp_path / "between.rec" if middle == "rec" else tmp_path / "b"
    convert(between, tmp_path / "back" / "train.rec")
    assert same_bytes(start, tmp_path / "back" / "train.rec")
    property_file = start.with_name("property").read_text()
    assert (tmp_path / "back" / "property").read_text() == property_file
