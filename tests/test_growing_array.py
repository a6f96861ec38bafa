import json
import os

import numpy as np
import pytest

from facekd.errors import FacekdError
from facekd.growing_array import GrowingArray, map_array

ROWS = np.arange(30, dtype=np.float32).reshape(10, 3)


def blocks(first, stop, size=2, fail_at=None):
    for row in range(first, stop, size):
        if row == fail_at:
            raise KeyboardInterrupt
        yield row, ROWS[row : min(row + size, stop)]


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.npy"
    growing = GrowingArray(path, ROWS.shape, np.float32)
    growing.create()
    with pytest.raises(KeyboardInterrupt):
        growing.fill(blocks(0, 10, fail_at=6), save_every=2)
    assert not path.exists()
    again = GrowingArray(path, ROWS.shape, np.float32)
    again.create()
    assert again.first_row() == 4
    again.fill(blocks(4, 10), save_every=2)
    again.finish()
    assert os.listdir(tmp_path) == ["a.npy"]
    assert path.read_bytes() == saved(tmp_path / "b.npy", ROWS)


def saved(path, array):
    np.save(path, array)
    return path.read_bytes()


def test_shares_fill_one_file_and_go_on_by_themselves(tmp_path):
    path = tmp_path / "a.npy"
    low, high = (GrowingArray(path, ROWS.shape, np.float32, s) for s in (range(6), range(6, 10)))
    low.create()
    high.fill(blocks(6, 10), save_every=1)
    with pytest.raises(KeyboardInterrupt):
        low.fill(blocks(0, 6, fail_at=4), save_every=1)
    low.create()  # keeps what both have written
    assert (low.first_row(), high.first_row()) == (4, 10)
    low.fill(blocks(4, 6), save_every=1)
    low.finish()
    assert os.listdir(tmp_path) == ["a.npy"]
    np.testing.assert_array_equal(map_array(path, ROWS.shape, np.float32), ROWS)


def test_a_share_with_other_bounds_is_made_anew(tmp_path):
    path = tmp_path / "a.npy"
    first = GrowingArray(path, ROWS.shape, np.float32, range(6))
    first.create()
    first.fill(blocks(0, 6), save_every=1)
    whole = GrowingArray(path, ROWS.shape, np.float32)
    whole.create()
    assert whole.first_row() == 0


def test_blocks_are_turned_into_the_arrays_dtype(tmp_path):
    growing = GrowingArray(tmp_path / "a.npy", ROWS.shape, np.float16)
    growing.create()
    growing.fill([(0, ROWS.astype(np.float64)[:, ::-1])], save_every=1)
    growing.finish()
    got = map_array(tmp_path / "a.npy", ROWS.shape, np.float16)
    np.testing.assert_array_equal(got, ROWS[:, ::-1].astype(np.float16))


def test_progress_without_its_part_is_told(tmp_path):
    growing = GrowingArray(tmp_path / "a.npy", ROWS.shape, np.float32)
    (tmp_path / "a.part.json").write_text(json.dumps({"done": 4}))
    growing.create()
    with pytest.raises(FacekdError, match=r"a\.part\.npy .* delete it \(and .*a\.part\.json\)"):
        growing.first_row()


def test_a_part_that_cannot_be_written_is_told(tmp_path):
    growing = GrowingArray(tmp_path / "a.npy", ROWS.shape, np.float32)
    growing.create()

    def lost():
        yield 0, ROWS[:2]
        (tmp_path / "a.part.npy").unlink()
        yield 2, ROWS[2:4]

    with pytest.raises(FacekdError, match=r"cannot write embeddings to .*a\.part\.npy"):
        growing.fill(lost(), save_every=5)
