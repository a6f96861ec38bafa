import numpy as np
import pytest

from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.recordio import IRHeader, RecordWriter, pack
from facekd.data_tools.verify import Verification

JPEG = encode_jpeg(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))


def bad(path):
    checks = Verification(path)
    findings = list(checks)
    assert len(findings) == len(checks)
    return [(f.record, f.offset, f.reason) for f in findings if f is not None]


def test_finds_every_kind_of_bad_record(tmp_path):
    path = tmp_path / "a.rec"
    with RecordWriter(path) as writer:
        writer.write(0, pack(IRHeader(np.array([7, 8]), 0), b""))
        for key, (label, image) in enumerate(
            [(0.0, JPEG), (1.5, JPEG), (0.0, JPEG[:-9]), (0.0, b""), (0.0, b"x"), (0.0, JPEG)], 1
        ):
            writer.write(key, pack(IRHeader(label, key), image))
        writer.write(7, pack(IRHeader(np.array([1, 7]), 7), b""))
        writer.write(8, b"short")
    lines = path.with_suffix(".idx").read_text().splitlines()
    offsets = [int(line.split("\t")[1]) for line in lines]
    content = bytearray(path.read_bytes())
    content[offsets[6]] ^= 1
    path.write_bytes(content)
    path.with_suffix(".idx").write_text("\n".join([*lines, "9\t999999"]))
    reasons = {
        2: "has the label 1.5",
        3: f"a JPEG of {len(JPEG) - 9} bytes is cut short",
        4: "holds no image bytes",
        5: "1 bytes do not decode",
        6: f"no record starts at byte {offsets[6]}",
        8: "a payload of 5 bytes is shorter",
        9: "byte 999999 lies past the end",
    }
    found = bad(path)
    assert [(record, offset) for record, offset, _ in found] == [
        (key, ([*offsets, 999999])[key]) for key in reasons
    ]
    for (_, _, reason), expected in zip(found, reasons.values(), strict=True):
        assert reason.startswith(expected)


def test_bin_and_folder(tmp_path):
    write_bin(tmp_path / "a.bin", [JPEG, b"x", JPEG, JPEG], [True, False])
    assert bad(tmp_path / "a.bin") == [(1, None, "1 bytes do not decode as an image.")]
    (tmp_path / "faces" / "ann").mkdir(parents=True)
    (tmp_path / "faces" / "ann" / "1.jpg").write_bytes(JPEG)
    (tmp_path / "faces" / "ann" / "2.jpg").write_bytes(b"")
    assert bad(tmp_path / "faces") == [("ann/2.jpg", None, "0 bytes do not decode as an image.")]


@pytest.mark.data
def test_real_files_are_sound(data_dir):
    assert bad(data_dir / "formats" / "face2rec") == []
    assert bad(data_dir / "formats" / "small_lfw.bin") == []
