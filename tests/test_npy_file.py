"""Damage to a `.npy` file is one kind of error."""

import numpy as np
import pytest

from facekd.npy_file import map_npy


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
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises(ValueError, match=r"."):
        map_npy(path)


def test_other_files(tmp_path):
    (tmp_path / "empty.npy").touch()
    with pytest.raises(ValueError, match="damaged"):
        map_npy(tmp_path / "empty.npy")
    with pytest.raises(OSError, match="No such file"):
        map_npy(tmp_path / "absent.npy")
