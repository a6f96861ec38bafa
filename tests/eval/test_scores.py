import subprocess
import sys

import numpy as np
import pytest

from facekd.errors import FacekdError
from facekd.eval.scores import check_scores, cosine_scores, sort_scores

SAME = np.array([True, True, False])


def test_import_brings_in_neither_torch_nor_matplotlib():
    code = (
        "import sys, pkgutil, importlib, facekd.eval as e, facekd.data_tools.pairs;"
        "import facekd.eval.verification, facekd.eval.compare, facekd.eval.report;"
        "bad = {'torch', 'matplotlib', 'sklearn', 'pandas'} & set(sys.modules);"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("scores", "same", "words"),
    [
        ([0.1, np.nan, 0.3], SAME, "pair 1 is nan"),
        ([0.1, np.inf, -np.inf], SAME, "2 of 3 scores"),
        ([0.1, 0.2], SAME, "one score a pair"),
        ([[0.1, 0.2, 0.3]], SAME, "one score a pair"),
        ([0.1, 0.2, 0.3], [True] * 3, "none of the 3 pairs is impostor"),
        ([0.1, 0.2, 0.3], [False] * 3, "none of the 3 pairs is genuine"),
        ([], [], "none of the 0 pairs is genuine"),
    ],
)
def test_scores_no_number_can_be_read_from(scores, same, words):
    with pytest.raises(FacekdError, match=words):
        check_scores(np.array(scores), same)


def test_counts_at_a_threshold_take_ties_in():
    ranked = sort_scores([0.5, 0.5, 0.5, 0.2, 0.5], [True, True, False, False, True])
    assert ranked.true_accepts(0.5) == 3
    assert ranked.false_accepts(0.5) == 1
    assert ranked.true_accepts(np.nextafter(0.5, 1)) == 0
    assert ranked.false_accepts(ranked.above_all()) == 0


def test_cosines_against_plain_arithmetic():
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(6, 4)).astype(np.float32) * 30
    left, right = np.array([0, 2, 5]), np.array([1, 3, 5])
    for got, i, j in zip(cosine_scores(embeddings, left, right), left, right, strict=True):
        a, b = embeddings[i].astype(float), embeddings[j].astype(float)
        assert got == pytest.approx(a @ b / np.sqrt((a @ a) * (b @ b)), abs=1e-15)


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_embedding_without_direction_is_an_error(value):
    embeddings = np.ones((4, 3), dtype=np.float32)
    embeddings[2] = value
    with pytest.raises(FacekdError, match="image 2 has norm"):
        cosine_scores(embeddings, np.array([0, 2]), np.array([1, 3]))


def test_rows_that_are_not_there_are_an_error():
    with pytest.raises(FacekdError, match="rows 1 to 4 of 4"):
        cosine_scores(np.ones((4, 3)), np.array([0, 2]), np.array([1, 4]))
