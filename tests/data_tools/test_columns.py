"""Columns of numbers against numpy, with blocks so small that they lie in files."""

import errno
import os
import pickle
import tempfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facekd.data_tools import columns
from facekd.data_tools.columns import (
    Column,
    changes,
    column,
    distinct,
    first_difference,
    numbered,
    order_of,
    repeated,
    rising,
    rows_where,
    sorted_copy,
    taken,
)
from facekd.data_tools.texts import Texts
from facekd.errors import FacekdError

NUMBERS = st.lists(st.integers(0, 9) | st.integers(0, 2**40), max_size=30)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_BLOCK", 4)
        yield


def grown(numbers):
    made = Column()
    for number in numbers:
        made.append(number)
    return made.numbers


@given(NUMBERS)
def test_as_numpy_does_it(values):
    numbers, plain = grown(values), np.array(values, dtype=np.int64)
    assert np.array_equal(numbers, plain)
    assert np.array_equal(sorted_copy(numbers), np.sort(plain))
    assert np.array_equal(order_of(numbers), np.argsort(plain, kind="stable"))
    assert rising(numbers) == (np.diff(plain) > 0).all()
    assert np.array_equal(changes(numbers), 1 + np.flatnonzero(np.diff(plain)))
    assert np.array_equal(rows_where(numbers > 5), np.flatnonzero(plain > 5))
    assert np.array_equal(taken(numbers, order_of(numbers)), np.sort(plain))
    assert np.array_equal(numbers, plain), "the column itself was changed"
    assert np.array_equal(pickle.loads(pickle.dumps(numbers)), plain)
    found, counts = np.unique(plain, return_counts=True)
    assert repeated(np.sort(plain)) == found[counts > 1].tolist()


@given(st.lists(st.integers(0, 30), max_size=40))
def test_labels_are_counted(values):
    found, counts = distinct(np.array(values, dtype=np.int64))
    plain = np.unique(np.array(values, dtype=np.int64), return_counts=True)
    assert np.array_equal(found, plain[0])
    assert np.array_equal(counts, plain[1])


@given(NUMBERS, st.integers(0, 29))
def test_the_first_row_that_differs(values, row):
    one = grown(values)
    assert first_difference(one, np.array(values, dtype=np.int64)) is None
    if row < len(values):
        other = sorted_copy(one) * 0 - 1
        other[:row] = one[:row]
        assert first_difference(one, other) == row


@pytest.mark.parametrize("numbers", [[2**31, 0], [2**62, 5, 5], [-1, 3, -2]])
def test_numbers_too_large_to_be_packed_are_ordered_too(numbers):
    order = order_of(np.array(numbers, dtype=np.int64))
    assert order.tolist() == np.argsort(numbers, kind="stable").tolist()


def test_a_column_goes_on_growing_after_it_was_looked_at():
    made = Column("f")
    for i in range(11):
        made.append(i / 2)
        assert made.numbers.tolist() == [j / 2 for j in range(i + 1)]
    again = pickle.loads(pickle.dumps(made))
    again.append(9.0)
    assert len(again) == 12
    assert again.numbers[-1] == 9.0


def test_numbered_from_one():
    assert numbered(9, first=1).tolist() == list(range(1, 10))


@given(st.lists(st.text(max_size=5), max_size=12))
def test_texts_lie_in_columns(words):
    words = [word.encode("utf-8", "replace").decode() for word in words]
    assert list(pickle.loads(pickle.dumps(Texts(words)))) == words


def test_a_full_disk_is_a_sentence(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(FacekdError, match="let TMPDIR name a folder with more room"):
        column(5)
    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    with pytest.raises(FacekdError, match="No space left on device"):
        grown(range(9))
