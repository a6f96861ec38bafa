"""Damage to a `.npy` or `.npz` file is one kind of error, and found before memory is taken."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest

from facekd.npy_file import map_npy, read_npz

ARRAYS = {"a": np.arange(12, dtype=np.float32).reshape(3, 4), "names": np.array(["x", "yz"])}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"}", b"("),
        (b"{", b"\0"),
        (b"'descr'", b"'descr "),
        (b"<f4", b"|O8"),
        (b"(3, 4)", b"(3,-4)"),
        (b"(3, 4)", b"(3, 9**9**9)"),
        (b"(3, 4)", b"(99999999999999999999,)"),
    ],
)
def test_a_damaged_header(tmp_path, old, new):
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((3, 4), np.float32))
    assert map_npy(path).shape == (3, 4)
    damaged = path.read_bytes().replace(old, new)
    path.write_bytes(damaged)
    with pytest.raises(ValueError, match=r"."):
        map_npy(path)
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", damaged)
    with pytest.raises(ValueError, match=r"."):
        read_npz(tmp_path / "a.npz")


def test_other_files(tmp_path):
    (tmp_path / "empty.npy").touch()
    with pytest.raises(ValueError, match="damaged"):
        map_npy(tmp_path / "empty.npy")
    with pytest.raises(OSError, match="No such file"):
        map_npy(tmp_path / "absent.npy")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive(tmp_path, save):
    save(tmp_path / "a.npz", **ARRAYS, empty=np.zeros((0, 3)), one=np.int64(7))
    found = read_npz(tmp_path / "a.npz")
    assert list(found) == [*ARRAYS, "empty", "one"]
    assert all(np.array_equal(found[name], array) for name, array in ARRAYS.items())


def header(shape):
    """That of a float64 array of this shape, and nothing behind it."""
    content = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        content, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return content.getvalue()


def announced(path):
    """An array of 100 GB by its header, of which 80 bytes are there."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header((12_500_000_000,)) + bytes(80))


def bomb(path):
    """320 MiB of zeros in a third of one."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a.npy", "w", force_zip64=True) as file,
    ):
        file.write(header((5 << 23,)))
        for _ in range(20):
            file.write(bytes(1 << 24))


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (announced, "a.npy announces 100,000,000,000 bytes and holds 80"),
        (bomb, "its arrays take 335,544,448 bytes, more than the 268,435,456 allowed; write it"),
    ],
)
def test_no_memory_is_taken_for_what_an_archive_pretends(tmp_path, make, told):
    make(tmp_path / "a.npz")
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=told):
            read_npz(tmp_path / "a.npz")
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()


def test_what_is_no_archive_of_arrays(tmp_path):
    np.save(tmp_path / "a.npy", ARRAYS["a"])
    with pytest.raises(ValueError, match="damaged archive"):
        read_npz(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "text.npz", "w") as archive:
        archive.writestr("a.txt", "text")
    with pytest.raises(ValueError, match=r"."):
        read_npz(tmp_path / "text.npz")
    np.savez(tmp_path / "cut.npz", **ARRAYS)
    (tmp_path / "cut.npz").write_bytes((tmp_path / "cut.npz").read_bytes()[:-40])
    with pytest.raises(ValueError, match="damaged archive"):
        read_npz(tmp_path / "cut.npz")
