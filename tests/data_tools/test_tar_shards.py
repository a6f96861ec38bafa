import io
import json
import os
import pickle
import tarfile

import numpy as np
import pytest

from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.items import Item
from facekd.data_tools.labelled import open_labelled
from facekd.data_tools.mapped_file import map_file
from facekd.data_tools.tar_members import read_members
from facekd.data_tools.writers import write_set
from facekd.errors import FacekdError


def jpeg(level: int) -> bytes:
    return encode_jpeg(np.full((8, 8, 3), level, dtype=np.uint8))


ITEMS = [
    Item("Zoë B", "a b.jpg", 7, jpeg(10)),
    Item("Zoë B", "b.jpg", 7, jpeg(60), None, np.array([7, 0.1], np.float32)),
    Item("3", "x.y.jpg", 2, jpeg(110)),
]


def pack(path, members, **changes):
    """A tar of (name, bytes); `changes` go into the last member's header."""
    with tarfile.open(path, "w") as tar:
        for n, (name, data) in enumerate(members):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            if n == len(members) - 1:
                for key, value in changes.items():
                    setattr(member, key, value)
            tar.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return path


def test_webdataset_reads_what_we_write(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    write_set(ITEMS, tmp_path / "shards", "tar", shard_images=2)
    assert sorted(os.listdir(tmp_path / "shards")) == ["000000.tar", "000001.tar"]
    urls = str(tmp_path / "shards" / "{000000..000001}.tar")
    found = list(webdataset.WebDataset(urls, shardshuffle=False))
    assert [sample["__key__"] for sample in found] == ["000000001", "000000002", "000000003"]
    assert [sample["jpg"] for sample in found] == [item.encoded for item in ITEMS]
    assert [int(sample["cls"]) for sample in found] == [7, 7, 2]
    told = [json.loads(sample["json"]) for sample in found]
    assert [one["identity"] for one in told] == ["Zoë B", "Zoë B", "3"]
    assert told[1]["labels"] == np.array([7, 0.1], np.float32).tolist()


def test_we_read_what_webdataset_writes(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.ShardWriter(str(tmp_path / "w-%02d.tar"), maxcount=2, verbose=0) as sink:
        for n in range(5):
            sink.write({"__key__": f"person/{n}", "jpg": jpeg(40 * n), "cls": n // 2})
    found = open_labelled(tmp_path / "w-{00..02}.tar")
    assert found.labels.tolist() == [0, 0, 1, 1, 2]
    assert list(found.ids) == [f"person/{n}.jpg" for n in range(5)]
    assert found.names is None  # one folder, three labels
    assert [bytes(found.images.encoded(n)) for n in range(5)] == [jpeg(40 * n) for n in range(5)]
    assert list(open_labelled(tmp_path).ids) == list(open_labelled(tmp_path / "w-*.tar").ids)


def test_tar_itself_reads_what_we_write(tmp_path):
    write_set(ITEMS, tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        assert tar.getnames()[:3] == ["000000001.jpg", "000000001.cls", "000000001.json"]
        assert tar.extractfile("000000003.jpg").read() == jpeg(110)


@pytest.mark.parametrize("size", [0, 1, 511, 512, 70_000])
def test_headers_are_those_of_tar_itself(tmp_path, size):
    write_set([Item("ann", "a.jpg", 3, b"\xff\xd8" + bytes(size), 1 << 60)], tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = tar.getmembers()
    data = (tmp_path / "a.tar").read_bytes()
    assert [member.name for member in members] == [f"{1 << 60}.{s}" for s in ("jpg", "cls", "json")]
    for member in members:
        plain = tarfile.TarInfo(member.name)
        plain.size = member.size
        assert data[member.offset : member.offset_data] == plain.tobuf(tarfile.USTAR_FORMAT)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("headers", [{}, {"comment": "of the whole file"}])
def test_members_are_found_as_tar_itself_finds_them(tmp_path, form, headers):
    names = ["a/1.jpg", "zoë/2.jpg", "long/" + "n" * 90 + ".jpg", "b" * 120 + "/4.jpg", "5.jpg"]
    path = tmp_path / "a.tar"
    more = {"pax_headers": headers} if form == tarfile.PAX_FORMAT else {}
    with tarfile.open(path, "w", format=form, **more) as tar:
        for n, name in enumerate(names):
            folder = tarfile.TarInfo(f"folder{n}")
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
            member = tarfile.TarInfo(name)
            member.size = 400 * n
            tar.addfile(member, io.BytesIO(bytes([n]) * member.size))
    with tarfile.open(path) as tar:
        theirs = [(m.name, m.offset, m.offset_data, m.size) for m in tar if m.isreg()]
    assert list(read_members(path, map_file(path))) == theirs
    assert [name for name, *_ in theirs] == names


def test_samples_of_one_name_in_two_shards(tmp_path):
    for n in range(2):
        pack(tmp_path / f"{n}.tar", [(f"{n}.jpg", b"x"), (f"{n}.cls", b"3"), *GOOD])
    with pytest.raises(FacekdError, match=r"1\.tar, sample k: there are two samples of that name"):
        open_labelled(tmp_path)


def test_read_in_place(tmp_path):
    write_set(ITEMS, tmp_path / "a.tar")
    found = open_labelled(tmp_path / "a.tar")
    assert found.name == "a"
    assert tuple(found.names) == ("", "", "3", "", "", "", "", "Zoë B")
    assert list(found.ids) == ["Zoë B/a b.jpg", "Zoë B/b.jpg", "3/x.y.jpg"]
    again = pickle.loads(pickle.dumps(found)).images
    assert [round(float(again[n].mean())) for n in range(3)] == [10, 60, 110]
    assert again.where(2).startswith("a.tar at byte ")


def test_a_shard_ends_before_it_is_too_large(tmp_path):
    size = len(ITEMS[0].encoded) + 8000
    write_set(ITEMS * 4, tmp_path / "a", "tar", shard_bytes=size)
    shards = sorted((tmp_path / "a").iterdir())
    assert 2 < len(shards) < 12
    assert all(shard.stat().st_size <= size + 1024 for shard in shards)
    assert len(open_labelled(tmp_path / "a").images) == 12


def test_an_image_that_does_not_decode_is_named(tmp_path):
    pack(tmp_path / "a.tar", [("k.jpg", b"no image"), ("k.cls", b"3")])
    with pytest.raises(FacekdError, match=r"a\.tar at byte 512: 8 bytes do not decode"):
        open_labelled(tmp_path / "a.tar").images[0]


GOOD = [("k.jpg", b"x"), ("k.cls", b"3")]


@pytest.mark.parametrize(
    ("members", "changes", "sentence"),
    [
        ([*GOOD, ("l.jpg", b"")], {"type": tarfile.SYMTYPE, "linkname": "/etc"}, "is a link or"),
        ([*GOOD, ("l.jpg", b"")], {"type": tarfile.LNKTYPE, "linkname": "k.jpg"}, "is a link or"),
        ([*GOOD, ("l.jpg", b"")], {"type": tarfile.CHRTYPE}, "is a link or a device"),
        ([*GOOD, ("l.jpg", b"")], {"type": tarfile.FIFOTYPE}, "is a link or a device"),
        ([("/k.jpg", b"x"), ("/k.cls", b"3")], {}, "is absolute"),
        ([("../k.jpg", b"x"), ("../k.cls", b"3")], {}, "leads out of its folder"),
        ([*GOOD, ("k.cls", b"3")], {}, "two members of that name"),
        ([*GOOD, ("l.jpg", b"x"), ("l.cls", b"1"), ("k.txt", b"")], {}, "two samples of that name"),
        ([("k.cls", b"3")], {}, "it has no image"),
        ([("k.jpg", b"x"), ("k.png", b"x")], {}, "its sample has two images"),
        ([("k.jpg", b"x")], {}, "it has no label"),
        ([("k.jpg", b"x"), ("k.cls", b"three")], {}, "no class number"),
        ([("k.jpg", b"x"), ("k.cls", b"99999999")], {}, "no whole number from 0 to 2**24"),
        ([("k.jpg", b"x"), ("k.json", b"{")], {}, "is no JSON"),
        ([("k.jpg", b"x"), ("k.json", b"[" * 100_000)], {}, "is no JSON"),
        ([("k.jpg", b"x"), ("k.json", b"[]")], {}, "is no object"),
        ([("k.jpg", b"x"), ("k.json", b'{"label": "3"}')], {}, "it has no label"),
        ([("k.jpg", b"x"), ("k.json", b'{"label": NaN}')], {}, "no whole number"),
        ([*GOOD, ("k.json", b'{"label": 4}')], {}, "its .json says 4"),
        ([*GOOD, ("k.json", b'{"labels": [4]}')], {}, "do not begin with its `label`"),
        ([*GOOD, ("k.json", b'{"identity": "..", "name": "a"}')], {}, "leads out of its folder"),
        ([*GOOD, ("k.json", b'{"identity": "a"}')], {}, "are not both texts"),
        ([*GOOD, ("k.json", b'{"record": -2}')], {}, "no record number"),
        ([*GOOD, ("l.jpg", b"")], {"size": 1 << 40}, "too many for an image"),
    ],
)
def test_bad_members_are_one_sentence(tmp_path, members, changes, sentence):
    pack(tmp_path / "a.tar", members)
    if changes.get("size"):
        data = bytearray((tmp_path / "a.tar").read_bytes())
        header = tarfile.TarInfo("l.jpg")
        header.size = changes["size"]
        at = data.index(b"l.jpg")
        data[at : at + 512] = header.tobuf(tarfile.GNU_FORMAT)
        (tmp_path / "a.tar").write_bytes(data)
    elif changes:
        pack(tmp_path / "a.tar", members, **changes)
    with pytest.raises(FacekdError) as caught:
        open_labelled(tmp_path / "a.tar")
    assert sentence in str(caught.value)
    assert "a.tar" in str(caught.value)


def test_damaged_and_cut_files(tmp_path):
    path = tmp_path / "a.tar"
    write_set(ITEMS, path)
    whole = path.read_bytes()
    for keep in (100, 270, 340, 350, 700, 2048, len(whole) - 1024):
        path.write_bytes(whole[:keep])
        with pytest.raises(FacekdError, match=r"a\.tar"):
            open_labelled(path)
    damaged = bytearray(whole)
    damaged[damaged.index(b"000000002.jpg")] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(FacekdError, match="no member and no end mark at byte"):
        open_labelled(path)
    path.write_bytes(b"")
    with pytest.raises(FacekdError, match="is empty"):
        open_labelled(path)
    with tarfile.open(path, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("k.jpg"))
    with pytest.raises(FacekdError, match="is compressed; unpack it to a plain"):
        open_labelled(path)
    with tarfile.open(path, "w"):
        pass
    with pytest.raises(FacekdError, match="holds no images"):
        open_labelled(path)


def test_missing_shards(tmp_path):
    write_set(ITEMS, tmp_path / "s0.tar")
    with pytest.raises(FacekdError, match=r"s1\.tar does not exist"):
        open_labelled(tmp_path / "s{0..1}.tar")
    with pytest.raises(FacekdError, match=r"t\*\.tar does not exist"):
        open_labelled(tmp_path / "t*.tar")
    with pytest.raises(FacekdError, match="more than a million"):
        open_labelled(tmp_path / "s{0..99999999}.tar")
    (tmp_path / "s1.tar").mkdir()
    with pytest.raises(FacekdError, match=r"cannot read .*s1\.tar: Is a directory"):
        open_labelled(tmp_path / "s*.tar")


@pytest.mark.parametrize(
    "told",
    [f'{{"label": {"9" * 400}}}', f'{{"label": 1, "labels": [1, {"9" * 400}]}}', "[" * 50000],
)
def test_numbers_and_nesting_beyond_all_measure(tmp_path, told):
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for suffix, data in {"jpg": b"x", "json": told.encode()}.items():
            member = tarfile.TarInfo(f"0.{suffix}")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    with pytest.raises(FacekdError, match=r"a\.tar, sample 0: "):
        open_labelled(tmp_path / "a.tar")
