import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facekd.data_tools.label_vectors import LabelVectors
from facekd.data_tools.texts import Digits, Texts


@given(st.lists(st.text() | st.just("no \udcff UTF-8"), max_size=20))
def test_texts_are_a_list(wanted):
    wanted = [text for text in wanted if text.isprintable() or "\udcff" in text]
    texts = pickle.loads(pickle.dumps(Texts(wanted)))
    assert list(texts) == wanted
    assert [texts[i] for i in range(-len(wanted), len(wanted))] == wanted * 2
    rows = np.arange(len(wanted))[::-2]
    assert list(texts.select(rows)) == wanted[::-2]
    with pytest.raises(IndexError):
        texts[len(wanted)]


def test_numbers_as_texts():
    digits = Digits(np.array([3, 1 << 62, 0]))
    assert list(digits) == [digits[i] for i in range(3)] == ["3", str(1 << 62), "0"]
    assert list(Digits(np.arange(100_000)))[99_990] == "99990"


def test_vectors_of_some_images():
    vectors = LabelVectors()
    vectors.append(2, [1, 0.1])
    vectors.append(5, [7, 1e39, -1])
    vectors = pickle.loads(pickle.dumps(vectors))
    assert list(vectors) == [2, 5]
    assert vectors[2].tolist() == np.array([1, 0.1], np.float32).tolist()
    assert vectors.get(3) is None
    assert 6 not in vectors
    chosen = vectors.select(np.array([0, 5, 1, 2]))
    assert {row: vector.tolist() for row, vector in chosen.items()} == {
        1: [7, np.inf, -1],
        3: vectors[2].tolist(),
    }
