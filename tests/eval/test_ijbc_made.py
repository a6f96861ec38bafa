"""The set that benchmarks/ijbc_scoring.py times is read and scored as a real one would be."""

import sys
from pathlib import Path

import numpy as np
import pytest

from facekd.data_tools.ijb import open_pairs
from facekd.eval.embeddings import open_embeddings
from facekd.eval.operating import tar_at_far
from facekd.eval.pair_scores import cosine_scores
from facekd.eval.scores import sort_scores
from facekd.eval.templates import TemplateProtocol, pool


@pytest.fixture(scope="module")
def ijbc_made():
    folder = str(Path(__file__).parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    try:
        import ijbc_made
    finally:
        sys.path.remove(folder)
    return ijbc_made


def scores_of(folder):
    pairs = open_pairs(folder / "IJBC", "ijbc")
    embeddings = open_embeddings(folder / "embeddings.npy", halves=True, count=len(pairs.faces))
    pooled = pool(embeddings, pairs.faces, TemplateProtocol())
    return pairs, cosine_scores(pooled.embeddings, pairs.left, pairs.right, missing=pooled.empty)


def test_a_small_one_has_the_counts_asked_for_and_realistic_scores(ijbc_made, tmp_path):
    size = ijbc_made.Size().scaled(0.02)
    ijbc_made.make(tmp_path, size, shuffle=False)
    pairs, scores = scores_of(tmp_path)
    assert (len(pairs), int(pairs.same.sum())) == (size.pairs, size.genuine)
    assert len(pairs.faces) == size.faces
    assert len(pairs.faces.template_ids) == size.people + size.probes
    tar = tar_at_far(sort_scores(scores, pairs.same), 1e-3).tar
    assert 0.9 < tar < 1  # good, not perfect: there is something to count


def test_shuffled_pairs_are_the_same_pairs(ijbc_made, tmp_path):
    size = ijbc_made.Size().scaled(0.005)
    ranked = []
    for shuffle in (False, True):
        folder = tmp_path / str(shuffle)
        ijbc_made.make(folder, size, shuffle)
        pairs, scores = scores_of(folder)
        assert (np.diff(pairs.left) >= 0).all() != shuffle
        ranked.append(np.sort(scores[pairs.same]))
    np.testing.assert_allclose(*ranked, rtol=0, atol=1e-6)


def test_what_is_there_is_kept_and_another_size_replaces_it(ijbc_made, tmp_path):
    size = ijbc_made.Size().scaled(0.005)
    ijbc_made.make(tmp_path, size, shuffle=False)
    embeddings = tmp_path / "embeddings.npy"
    before = embeddings.stat().st_mtime_ns
    ijbc_made.make(tmp_path, size, shuffle=False)
    assert embeddings.stat().st_mtime_ns == before
    ijbc_made.make(tmp_path, ijbc_made.Size().scaled(0.006), shuffle=False)
    assert len(np.load(embeddings)) == round(469_375 * 0.006)
