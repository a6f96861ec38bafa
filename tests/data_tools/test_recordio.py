import multiprocessing
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from facekd.data_tools.record_frames import MAGIC
from facekd.data_tools.record_index import read_index
from facekd.data_tools.recordio import (
    IRHeader,
    RecordFile,
    RecordWriter,
    pack,
    unpack,
)
from facekd.errors import FacekdError

MXNET = Path(__file__).parents[1] / "fixtures" / "mxnet191" / "records.rec"
WORD = struct.pack("<I", MAGIC)


def part(cflag: int, content: bytes) -> bytes:
    return WORD + struct.pack("<I", cflag << 29 | len(content)) + content + bytes(-len(content) % 4)


def made(folder: Path, content: bytes, index: str | None = None) -> RecordFile:
    (folder / "a.rec").write_bytes(content)
    if index is not None:
        (folder / "a.idx").write_text(index)
    return RecordFile(folder / "a.rec")


def payloads(records: RecordFile) -> list[bytes]:
    return [bytes(records.payload(i)) for i in range(len(records))]


def written(path: Path, items: list[bytes]) -> RecordFile:
    with RecordWriter(path) as writer:
        for key, item in enumerate(items):
            writer.write(key, item)
    return RecordFile(path)


def test_reads_what_mxnet_wrote():
    records = RecordFile(MXNET)
    assert records.keys.tolist() == list(range(9))
    header, image = unpack(records.payload(0))
    assert header.label.tolist() == [7, 9]
    assert len(image) == 0
    header, image = unpack(records.payload(3))
    assert header.label.tolist() == [0, 1]
    assert header.id == 3
    header, image = unpack(records.payload(2))
    assert (header.label, header.id, header.id2) == (0.0, 2, 0)
    assert bytes(image[:3]) == b"P6\n"


def test_joins_the_parts_mxnet_split_at_the_magic_word():
    header, image = unpack(RecordFile(MXNET).payload(4))
    assert header.label == 1
    assert bytes(image) == b"abcd" + WORD + b"\x01\x02" + WORD + b"\x03\x04" + 2 * WORD


def test_writer_gives_mxnets_bytes(tmp_path):
    written(tmp_path / "ours.rec", payloads(RecordFile(MXNET)))
    assert (tmp_path / "ours.rec").read_bytes() == MXNET.read_bytes()
    assert (tmp_path / "ours.idx").read_bytes() == MXNET.with_suffix(".idx").read_bytes()


def test_any_payload_survives_writing_and_scanning(tmp_path):
    rng = np.random.default_rng(0)
    items = [b"", WORD, WORD + WORD, b"abc" + WORD, b"abcd" + WORD[:3], b"x" * 4 + WORD + b"y"]
    for _ in range(200):
        pieces = [WORD if rng.random() < 0.4 else rng.bytes(rng.integers(1, 9)) for _ in range(8)]
        items.append(b"".join(pieces))
    records = written(tmp_path / "a.rec", items)
    assert payloads(records) == items
    (tmp_path / "a.idx").unlink()
    scanned = RecordFile(tmp_path / "a.rec")
    assert scanned.rebuilt
    assert scanned.offsets.tolist() == records.offsets.tolist()
    assert payloads(scanned) == items


def test_reads_bytes_laid_by_hand(tmp_path):
    whole, first, middle, last = part(0, b"hello"), part(1, b"abcd"), part(2, b""), part(3, b"z")
    records = made(tmp_path, whole + first + middle + last, "7\t0\n3\t16\n")
    assert records.keys.tolist() == [3, 7]
    assert payloads(records) == [b"abcd" + WORD + WORD + b"z", b"hello"]


def test_payload_is_a_view_into_the_file(tmp_path):
    records = made(tmp_path, part(0, b"hello"), "0\t0\n")
    assert isinstance(records.payload(0), memoryview)


def test_header_round_trip():
    header, image = unpack(pack(IRHeader(5.0, 2**40, 9), b"jpeg"))
    assert header == IRHeader(5.0, 2**40, 9)
    assert image == b"jpeg"
    header, image = unpack(pack(IRHeader(np.array([3, 4, 5.5]), 1), b"j"))
    assert header.label.tolist() == [3, 4, 5.5]
    assert image == b"j"
    with pytest.raises(FacekdError, match="shorter than the image header"):
        unpack(bytes(23))
    with pytest.raises(FacekdError, match="cannot hold the 2 labels"):
        unpack(struct.pack("<IfQQ", 2, 0, 0, 0) + bytes(7))


@pytest.mark.parametrize(
    ("content", "index", "message"),
    [
        (part(0, b"abcd"), "5\t12\n", r"a\.rec record 5 at byte 12: byte 12 lies past the end"),
        (part(0, b"abcd"), "5\t400\n", r"a\.rec record 5 at byte 400: byte 400 lies past the end"),
        (part(0, b"abcd"), "5\t4\n", r"record 5 at byte 4: no record starts at byte 4 \(found"),
        (b"\0\0" + part(0, b"abcd"), "5\t2\n", r"record 5 at byte 2: no record starts at byte 2"),
        (part(0, b"abcd")[:-1], "5\t0\n", r"record 5 at byte 0: the record reaches to byte 12"),
        (part(2, b"abcd"), "5\t0\n", "begins with a part of kind 2"),
        (part(1, b"abcd") + part(0, b""), "5\t0\n", "a part of kind 0 follows at byte 12"),
        (part(1, b"abcd"), "5\t0\n", "byte 12 lies past the end"),
    ],
)
def test_bad_record_is_named(tmp_path, content, index, message):
    records = made(tmp_path, content, index)
    with pytest.raises(FacekdError, match=message):
        records.payload(0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (part(0, b"abcd") + part(0, b"efgh")[:-2], r"a\.rec record 1 at byte 12: the record reach"),
        (part(0, b"abcd") + b"junkjunk", r"a\.rec record 1 at byte 12: no record starts"),
        (part(0, b"a") + part(1, b"abcd"), r"a\.rec record 1 at byte 12: its last part is missing"),
        (part(3, b"a"), "a part of kind 3 stands out of order at byte 0"),
        (part(1, b"abcd") + part(0, b"a"), "a part of kind 0 stands out of order at byte 12"),
        (b"", "is empty"),
    ],
)
def test_scan_stops_at_damage(tmp_path, content, message):
    with pytest.raises(FacekdError, match=message):
        made(tmp_path, content)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ("0\t0\n1\n", "line 2 is not"),
        ("0\t0\n\n", "line 2 is not"),
        ("0 0\n", "line 1 is not"),
        ("0\t-4\n", "line 1 is not"),
        ("\t5\n", "line 1 is not"),
        ("0\t0\r1\t4\n", "line 1 is not"),
        ("", "line 1 is not"),
        ("0\t0\n0\t0\n", "lists the record 0 more than once"),
    ],
)
def test_bad_index_is_named(tmp_path, index, message):
    with pytest.raises(FacekdError, match=message):
        made(tmp_path, part(0, b"abcd"), index)


def test_index_takes_windows_line_ends_and_no_last_one(tmp_path):
    (tmp_path / "a.idx").write_bytes(b"3\t0\r\n99999999999\t12")
    keys, offsets = read_index(tmp_path / "a.idx")
    assert keys.tolist() == [3, 99999999999]
    assert offsets.tolist() == [0, 12]


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FacekdError, match=r"cannot read .*nothing\.rec"):
        RecordFile(tmp_path / "nothing.rec")


def test_failed_write_leaves_the_old_files(tmp_path):
    path = tmp_path / "a.rec"
    written(path, [b"old"])

    def fail() -> None:
        with RecordWriter(path) as writer:
            writer.write(0, b"new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert payloads(RecordFile(path)) == [b"old"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.idx", "a.rec"]
    written(path, [b"new", b"er"])
    assert payloads(RecordFile(path)) == [b"new", b"er"]


def test_full_disk_is_one_sentence_and_leaves_the_old_files(tmp_path):
    path = tmp_path / "a.rec"
    written(path, [b"old"])

    def fill_the_disk() -> None:
        with RecordWriter(path) as writer:
            writer.write(0, b"new")
            writer._file.write = full_disk
            writer.write(1, b"more")

    with pytest.raises(FacekdError, match="No space left on device"):
        fill_the_disk()
    assert payloads(RecordFile(path)) == [b"old"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.idx", "a.rec"]


def full_disk(content: bytes) -> int:
    raise OSError(28, "No space left on device")


def first_payload(records: RecordFile) -> bytes:
    return bytes(records.payload(0))


def test_travels_into_another_process(tmp_path):
    records = written(tmp_path / "a.rec", [b"one" * 1000, b"two"])
    assert len(pickle.dumps(records)) < 1500  # the mapped bytes do not travel
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(first_payload, (records,)) == b"one" * 1000


def test_an_index_is_read_block_by_block(tmp_path, monkeypatch):
    monkeypatch.setattr("facekd.data_tools.record_index._BLOCK", 5)
    lines = [f"{7 * i}\t{4 * i * i}" for i in range(500)]
    path = tmp_path / "a.idx"
    path.write_text("\r\n".join(lines), newline="")
    keys, offsets = read_index(path)
    assert [f"{key}\t{at}" for key, at in zip(keys, offsets, strict=True)] == lines
    path.write_text("\n".join([*lines[:400], "12 7", *lines[400:]]))
    with pytest.raises(FacekdError, match=r"a\.idx line 401 is not 'key<tab>offset' \(b'12 7'\)"):
        read_index(path)
