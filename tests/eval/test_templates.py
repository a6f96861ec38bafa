"""Pooling against insightface's own code (fixtures/make_ijb_authors.py) and a slow double."""

import runpy
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.data_tools.ijb import TemplateFaces
from facekd.errors import FacekdError
from facekd.eval.embeddings import Embeddings
from facekd.eval.pair_scores import cosine_scores
from facekd.eval.templates import TemplateProtocol, pool

FIXTURES = Path(__file__).parents[1] / "fixtures"
MAKE = runpy.run_path(str(FIXTURES / "make_ijb_authors.py"), run_name="make_ijb_authors")
SWITCHES = list(product((True, False), repeat=3))


def faces_of(template, media, detector=None, found=None):
    template = np.asarray(template)
    count = len(template)
    ids, rows = np.unique(template, return_inverse=True)
    return TemplateFaces(
        images=None,
        template=rows.astype(np.int32),
        media=np.asarray(media, np.int64),
        detector=np.ones(count, np.float32) if detector is None else np.asarray(detector, "f4"),
        found=np.ones(count, bool) if found is None else np.asarray(found),
        template_ids=ids,
        fingerprint="made",
    )


def slow_pool(embeddings, faces, norm, detector, flip):
    """One template after the other, in Python and double precision."""
    half = embeddings.shape[1] // 2
    pooled = []
    for row in range(len(faces.template_ids)):
        total = np.zeros(half)
        mine = (faces.template == row) & faces.found
        for medium in set(faces.media[mine].tolist()):
            members = np.flatnonzero(mine & (faces.media == medium))
            for i in members:
                e = embeddings[i, :half].astype(float)
                e = e + embeddings[i, half:] if flip else e
                e = e if norm else e / np.linalg.norm(e)
                total += e * (faces.detector[i] if detector else 1) / len(members)
        pooled.append(total / np.linalg.norm(total) if mine.any() else total)
    return np.array(pooled)


@pytest.mark.parametrize("switches", SWITCHES)
def test_templates_and_scores_equal_insightfaces(switches):
    data = MAKE["made"]()
    faces = faces_of(data.template, data.media, data.detector)
    pooled = pool(Embeddings(data.embeddings, halves=True), faces, TemplateProtocol(*switches))
    key = "N{:d}D{:d}F{:d}".format(*switches)
    left, right = (np.searchsorted(faces.template_ids, ids) for ids in (data.left, data.right))
    with np.load(FIXTURES / "ijb_authors.npz") as theirs:
        assert np.abs(pooled.embeddings[::15] - theirs[f"templates_{key}"]).max() < 1e-6
        scores = cosine_scores(pooled.embeddings, left, right)
        assert np.abs(scores - theirs[f"scores_{key}"]).max() < 1e-6


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), switches=st.sampled_from(SWITCHES))
def test_pooling_equals_a_slow_double_in_any_order(seed, switches):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 60))
    embeddings = rng.standard_normal((count, 8)).astype(np.float32)
    faces = faces_of(
        rng.integers(0, 9, count),
        rng.integers(-3, 3, count),
        rng.uniform(0.1, 1, count),
        rng.random(count) < 0.8,
    )
    pooled = pool(Embeddings(embeddings, halves=True), faces, TemplateProtocol(*switches))
    np.testing.assert_allclose(
        pooled.embeddings, slow_pool(embeddings, faces, *switches), atol=5e-5
    )
    order = rng.permutation(count)
    again = pool(
        Embeddings(embeddings[order], halves=True),
        faces_of(
            faces.template_ids[faces.template[order]],
            faces.media[order],
            faces.detector[order],
            faces.found[order],
        ),
        TemplateProtocol(*switches),
    )
    np.testing.assert_allclose(again.embeddings, pooled.embeddings, atol=5e-5)
    assert (again.empty == pooled.empty).all()


def test_blocks_do_not_change_templates(monkeypatch):
    data = MAKE["made"]()
    faces = faces_of(data.template, data.media, data.detector)
    embeddings = Embeddings(data.embeddings, halves=True)
    whole = pool(embeddings, faces, TemplateProtocol())
    blocks = Embeddings.blocks
    monkeypatch.setattr(Embeddings, "blocks", lambda self, flip: blocks(self, flip, size=7))
    np.testing.assert_allclose(
        pool(embeddings, faces, TemplateProtocol()).embeddings, whole.embeddings, atol=1e-6
    )


def test_faces_not_found_count_for_nothing_and_leave_templates_empty():
    found = np.array([True, True, False, False, False])
    faces = faces_of([5, 5, 5, 9, 9], [1, 1, 1, 2, 3], found=found)
    embeddings = np.array([[3, 0], [0, 1], [np.nan, 0], [0, 0], [1, 1]], np.float32)
    pooled = pool(Embeddings(embeddings, missing=~found), faces, TemplateProtocol())
    np.testing.assert_allclose(pooled.embeddings, [[3 / 10**0.5, 1 / 10**0.5], [0, 0]], rtol=1e-6)
    assert pooled.empty.tolist() == [False, True]
    assert pooled.quality.tolist() == [2, 0]


def test_a_template_of_sum_zero_is_named():
    faces = faces_of([5, 8, 8], [1, 2, 3], [1, 0, 0])
    with pytest.raises(FacekdError, match=r"template 8 add up to zero \(1 such"):
        pool(Embeddings(np.ones((3, 4), np.float32)), faces, TemplateProtocol())


def test_another_number_of_embeddings_than_faces_is_refused():
    faces = faces_of([5, 8, 8], [1, 2, 3])
    with pytest.raises(FacekdError, match="holds 4 embeddings, the face list 3 faces"):
        pool(Embeddings(np.ones((4, 4), np.float32)), faces, TemplateProtocol())


def test_a_protocol_says_its_switches():
    assert TemplateProtocol().words().startswith("N1 D1 F1: ")
    assert TemplateProtocol().words(flip_known=False).startswith("N1 D1 F?: ")
    assert TemplateProtocol(norm=False, flip=False).words() == (
        "N0 D1 F0: embeddings at unit length, weighted by the detector's score, the mirrored "
        "image's left out"
    )
