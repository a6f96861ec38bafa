import io
import os
import pickle
import struct
import time
from pathlib import Path

import numpy as np
import pytest

from facekd.data_tools.binfile import read_bin, write_bin
from facekd.data_tools.images import decode_rgb
from facekd.errors import FacekdError

IMAGES = [b"\xff\xd8jpeg one\xff\xd9", b"\x00\n'\\two\x80", b"three" * 100, b""]
SAME = [True, False]


def read(folder: Path, content: bytes, **limits: int):
    path = folder / "a.bin"
    path.write_bytes(content)
    return read_bin(path, **limits)


def check(content):
    assert [bytes(image) for image in content.encoded] == IMAGES
    assert content.same.dtype == bool
    assert content.same.tolist() == SAME


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "kind",
    [
        bytes,
        bytearray,
        lambda b: np.frombuffer(b, np.uint8),
        lambda b: np.frombuffer(b, np.uint8).copy(),
        lambda b: np.frombuffer(b, np.uint8).copy()[:, None],
    ],
    ids=["bytes", "bytearray", "readonly array", "array", "column"],
)
@pytest.mark.parametrize(
    "flags", [list, np.array, lambda s: [np.bool_(v) for v in s], lambda s: [int(v) for v in s]]
)
def test_every_protocol_and_kind(tmp_path, protocol, kind, flags):
    content = ([kind(image) for image in IMAGES], flags(SAME))
    check(read(tmp_path, pickle.dumps(content, protocol)))


@pytest.mark.parametrize("protocol", range(6))
def test_both_names_of_numpys_core(tmp_path, protocol):
    content = pickle.dumps(([np.frombuffer(i, np.uint8) for i in IMAGES], SAME), protocol)
    for new, old in [(b"numpy._core.", b"numpy.core."), (b"\x16numpy._core", b"\x15numpy.core")]:
        if protocol < 4:  # names of protocol 4 carry a length, and frames do
            check(read(tmp_path, content.replace(new, old)))


def test_python_2_cpickle_protocol_2(tmp_path):
    """Opcodes as cPickle emits them: byte strings as SHORT_BINSTRING and BINSTRING, memo puts."""
    strings = b""
    for n, image in enumerate(IMAGES):
        head = b"U" + bytes([len(image)]) if len(image) < 256 else b"T" + struct.pack("<i", 500)
        strings += head + image + b"q" + bytes([n + 2])
    content = b"\x80\x02]q\x01(" + strings + b"e]q\x07(\x88\x89e\x86q\x08."
    check(read(tmp_path, content))


def test_python_2_protocol_0(tmp_path):
    """Protocol 0 as Python 2 writes it: escaped strings, I01 and I00 for booleans."""
    strings = b""
    for n, image in enumerate(IMAGES):
        strings += b"S" + repr(image)[1:].encode() + b"\np%d\na" % (n + 2)
    content = b"((lp1\n" + strings + b"(lp7\nI01\naI00\natp8\n."
    check(read(tmp_path, content))


def test_python_2_array(tmp_path):
    image = IMAGES[0]
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\nq\x02(cnumpy\nndarray\nq\x03K\x00\x85U\x01btRq\x04"
        b"(K\x01K" + bytes([len(image)]) + b"\x85cnumpy\ndtype\nq\x05(U\x02u1K\x00K\x01tRq\x06"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U"
        + bytes([len(image)])
        + image
        + b"tb"
    )
    content = read(tmp_path, b"\x80\x02](" + array + b"U\x01xe]\x88a\x86.")
    assert [bytes(i) for i in content.encoded] == [image, b"x"]


def test_round_trip_in_insightfaces_layout(tmp_path):
    write_bin(tmp_path / "a.bin", IMAGES, SAME)
    check(read_bin(tmp_path / "a.bin"))
    with (tmp_path / "a.bin").open("rb") as file:
        assert pickle.load(file, encoding="bytes") == (IMAGES, SAME)
    with pytest.raises(FacekdError, match="4 images do not make 3 pairs"):
        write_bin(tmp_path / "b.bin", IMAGES, [True] * 3)


class Calls:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("function", "argument", "name"),
    [
        (os.system, "touch PLANTED", r"(posix|nt)\.system"),
        (eval, "open('PLANTED', 'w')", r"(builtins|__builtin__)\.eval"),
        (getattr, "x", r"(builtins|__builtin__)\.getattr"),
        (np.fromfile, "x", r"numpy.*fromfile"),
        (np.array, [1], r"numpy.*array"),
    ],
)
def test_other_globals_are_refused_by_name(
    tmp_path, monkeypatch, protocol, function, argument, name
):
    monkeypatch.chdir(tmp_path)
    content = ([Calls(function, argument), b"x"], [True])
    with pytest.raises(FacekdError, match=f"a.bin: refused: the pickle asks for {name}"):
        read(tmp_path, pickle.dumps(content, protocol))
    assert not Path("PLANTED").exists()


def array_of(dtype: str, shape: bytes = b"K\x04\x85", raw: bytes = b"C\x04abcd") -> bytes:
    """A pickle of one pair whose first image is an array with this dtype, shape and data."""
    return (
        b"\x80\x03](cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR"
        b"(K\x01" + shape + b"cnumpy\ndtype\n(X" + struct.pack("<I", len(dtype)) + dtype.encode()
        + b"K\x00K\x01tR(K\x03X\x01\x00\x00\x00|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        + raw + b"tbC\x01xe]\x88a\x86."
    )  # fmt: skip


def test_array_lengths_are_checked(tmp_path):
    assert bytes(read(tmp_path, array_of("u1")).encoded[0]) == b"abcd"
    for shape in [
        b"K\x05\x85",
        b"K\x02K\x02\x86",
        b")",
        b"J\xff\xff\xff\xff\x85",
        b"C\x04abcd\x85",
    ]:
        with pytest.raises(FacekdError, match="shape does not fit"):
            read(tmp_path, array_of("u1", shape))


def test_shape_that_would_repeat_a_string(tmp_path):
    huge = b"X\x02\x00\x00\x00aaJ\xff\xff\xff\x7f\x86"
    with pytest.raises(FacekdError, match="shape does not fit"):
        read(tmp_path, array_of("u1", huge))


@pytest.mark.parametrize("dtype", ["O8", "|O", "f8", "M8", "V8"])
def test_other_arrays_are_refused(tmp_path, dtype):
    with pytest.raises(FacekdError, match="only uint8 and bool"):
        read(tmp_path, array_of(dtype))


def test_object_array_by_numpy(tmp_path):
    content = (np.array(IMAGES, dtype=object), SAME)
    with pytest.raises(FacekdError, match="only uint8 and bool"):
        read(tmp_path, pickle.dumps(content, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc.",
            "BINBYTES8 at byte 2 reaches past",
        ),
        (b"\x80\x05\x96" + struct.pack("<Q", 1 << 62) + b"abc.", "BYTEARRAY8 at byte 2 reaches"),
        (b"\x80\x02T\xff\xff\xff\xff.", "BINSTRING at byte 2 reaches past"),
        (b"\x80\x02]r\xff\xff\xff\x7f.", "memo number 2147483647 at byte 3"),
        (b"(lp99999999999\n.", "memo number 99999999999"),
        (b"\x80\x05\x95" + struct.pack("<Q", 3) + b"C\x04abcd.", "at byte 11 leaves its frame"),
        (b"\x80\x02}.", "EMPTY_DICT at byte 2"),
        (b"\x80\x02Pid\n.", "PERSID at byte 2"),
        (b"(ios\nsystem\n.", "INST at byte 1"),
        (b"\x80\x02\x82\x01.", "EXT1 at byte 2"),
        (b"\xff\xd8\xff\xe0", "not a verification set: byte 0xff at byte 0"),
        (b"", "cut short"),
        (b"\x80\x04]", "cut short"),
        (b"\x80\x04R.", "damaged pickle"),
        (pickle.dumps([1, 2, 3]), r"does not hold a pair"),
        (pickle.dumps((IMAGES, 5)), "not a list of booleans"),
        (pickle.dumps((IMAGES, [True, 7])), "not a list of booleans"),
        (pickle.dumps((IMAGES, [True])), "4 images do not make 1 pairs"),
        (pickle.dumps((b"xy", [True])), "images are not a list"),
        (pickle.dumps((["text", b"x"], [True])), "image 0 is neither bytes nor"),
        (pickle.dumps(([b"x", np.array([True])], [True])), "image 1 is neither bytes nor"),
        (pickle.dumps(([], [])), "holds no pairs"),
    ],
)
def test_malformed_or_malicious(tmp_path, content, message):
    with pytest.raises(FacekdError, match=r"a\.bin.*" + message):
        read(tmp_path, content)


def test_stand_ins_cannot_be_changed_by_the_pickle(tmp_path):
    with pytest.raises(FacekdError, match="tries to change"):
        read(tmp_path, b"\x80\x02c_codecs\nencode\nNb.")


def test_repeated_encoding_is_bounded(tmp_path):
    """One long text, encoded over and over: the bytes may not outgrow the file."""
    text = b"X" + struct.pack("<I", 100_000) + b"a" * 100_000
    call = b"c_codecs\nencode\n" + b"h\x00X\x06\x00\x00\x00latin1\x86R"
    with pytest.raises(FacekdError, match="unfolds to more bytes"):
        read(tmp_path, b"\x80\x02" + text + b"q\x00(" + call * 50 + b"l.")


def test_caps(tmp_path):
    content = pickle.dumps((IMAGES, SAME), 4)
    with pytest.raises(FacekdError, match="and may have 100, so"):
        read(tmp_path, content, max_bytes=100)
    with pytest.raises(FacekdError, match="4 images, more than the 3 allowed"):
        read(tmp_path, content, max_images=3)
    doubling = b"\x80\x02]q\x00(" + b"h\x00" * 20_000 + b"e."
    with pytest.raises(FacekdError, match="more opcodes than 10 images can need"):
        read(tmp_path, doubling, max_images=10)
    with pytest.raises(FacekdError, match="cannot read"):
        read_bin(tmp_path / "nothing.bin")


@pytest.mark.data
def test_real_lfw(data_dir):
    content = read_bin(data_dir / "lfw" / "lfw.bin")
    assert len(content.encoded) == 12000
    folds = content.same.reshape(10, 600)
    assert (folds.sum(axis=1) == 300).all()
    assert decode_rgb(content.encoded[-1]).shape == (112, 112, 3)


@pytest.mark.data
def test_real_file_with_arrays(data_dir):
    path = data_dir / "formats" / "small_lfw.bin"
    content = read_bin(path)
    assert content.same.tolist() == [True] * 10
    trusted = pickle.load(io.BytesIO(path.read_bytes()), encoding="bytes")[0]
    assert [bytes(i) for i in content.encoded] == [image.tobytes() for image in trusted]


BULK = b"B" + struct.pack("<I", 30 << 20) + bytes(30 << 20) + b"q\x00"
ARRAY = b"cnumpy.core.multiarray\n_reconstruct\nq\x01(cnumpy\nndarray\nK\x00\x85C\x01btq\x02"
SHAPE = b"K\x01J" + struct.pack("<i", 20 << 20) + b"\x85cnumpy\ndtype\nX\x02\x00\x00\x00%s\x85R\x89"
LARGE = b"B" + struct.pack("<I", 20 << 20) + b"\x01" * (20 << 20)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x03" + b"]" * (40 << 20) + b".",
        b"\x80\x03" + b"C\x01x" * (13 << 20) + b".",
        b"\x80\x04" + b"\x95\0\0\0\0\0\0\0\0" * (4 << 20) + b".",
        b"\x80\x03(" + b"K\x01" * (20 << 20) + b"l.",
        b"I" + b"1" * (40 << 20) + b"\n.",
        BULK + b"(" + b"N" * (13 << 20) + b"l.",
        BULK + b")" + b"\x85" * 700_000 + b".",
        BULK + b"cbuiltins\nbytes\nq\x01)q\x02(" + b"h\x01h\x02R" * 200_000 + b"l.",
        b"\x80\x05\x96" + struct.pack("<Q", 20 << 20) + bytes(20 << 20) + b"q\x00" + ARRAY
        + b"(" + SHAPE % b"u1" + b"h\x00tq\x03](" + b"h\x01h\x02Rh\x03b" * 100_000 + b"e.",
        b"\x80\x03](C\x01xC\x01ye" + ARRAY + b"R(" + SHAPE % b"b1" + LARGE + b"tb\x86.",
    ],
    ids="lists bytes frames ints digits nones tuples calls bytearray flags".split(),  # noqa: SIM905
)  # fmt: skip
def test_a_hostile_file_is_refused_quickly(tmp_path, content):
    path = tmp_path / "a.bin"
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(FacekdError):
        read_bin(path)
    assert time.process_time() - start < 2
