"""facekd.verify, and facekd.eval.tar_at_far for its threshold."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import facekd
from facekd.eval import operating
from facekd.eval.scores import sort_scores

TINY = Path(__file__).parent / "fixtures/format1_tiny.pt"  # 8 dimensions of 32 x 32 pixels
RNG = np.random.default_rng(0)
ERROR = facekd.FacekdError


def test_two_embeddings():
    a, b = np.array([3.0, 4.0]), np.array([8.0, 6.0])
    verdict = facekd.verify(a, b, 0.9)
    assert verdict.similarity == pytest.approx(48 / 50)
    assert verdict.same
    assert verdict.threshold == 0.9
    assert not facekd.verify(a, b, 0.97).same
    assert facekd.verify(a, 2 * a, 1.0).same  # at the threshold is accepted


@pytest.mark.parametrize("flip", [False, True])
def test_two_crops(flip):
    model = facekd.load_model(TINY)
    a, b = RNG.integers(0, 256, (2, 32, 32, 3), np.uint8)
    one, other = model.embed(np.stack([a, b]), flip=flip).astype(np.float64)
    expected = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
    verdict = facekd.verify(a, b, 0.5, model=model, flip=flip)
    assert verdict.similarity == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("a", "b", "how", "words"),
    [
        (np.ones(3), np.ones(4), {}, r"shapes \(3,\) and \(4,\)"),
        (np.ones((32, 32, 3)), np.ones((32, 32, 3)), {}, "two aligned crops and model="),
        (np.ones(3), np.zeros(3), {}, "the embedding of image 1 has norm 0"),
        (np.ones(3), np.full(3, np.nan), {}, "not finite"),
        (np.ones(3), np.ones(3), {"threshold": 1.5}, "1.5 is no cosine"),
        (np.ones(3), np.ones(3), {"threshold": float("nan")}, "is no cosine"),
        (np.ones(3), np.ones(3), {"flip": True}, "flip is about crops"),
    ],
)
def test_what_is_no_pair_is_refused(a, b, how, words):
    with pytest.raises(ERROR, match=words):
        facekd.verify(a, b, **{"threshold": 0.5, **how})


def test_crops_of_another_size_are_refused():
    crop = np.zeros((112, 112, 3), np.uint8)
    with pytest.raises(ERROR, match=r"this network takes \(n, 32, 32, 3\)"):
        facekd.verify(crop, crop, 0.5, model=facekd.load_model(TINY))


def test_tar_at_far_is_the_reports():
    same = np.arange(400) % 2
    scores = np.tanh(RNG.normal(size=400) + same)
    for far in (0.1, 1e-2, 1e-3):
        ranked = sort_scores(scores, same)
        for rule in ("strict", "nearest"):
            ours = facekd.eval.tar_at_far(scores.tolist(), same.tolist(), far, rule)
            assert ours == operating.tar_at_far(ranked, far, rule)
    few = facekd.eval.tar_at_far(scores, same, 1e-3)
    assert few.tar is None
    assert "200 pairs" in few.reason


def test_tar_at_far_by_hand():
    scores, labels = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4], [1, 0, 1, 1, 0, 0]
    point = facekd.eval.tar_at_far(scores, labels, 1 / 3)
    assert (point.tar, point.far, point.threshold) == (1.0, pytest.approx(1 / 3), 0.6)


@pytest.mark.parametrize(
    ("scores", "labels", "far", "words"),
    [
        ([0.1, 0.2], [1, 1], 0.1, "none of the 2 pairs is impostor"),
        ([0.1, 0.2], [1, -1], 0.1, "the label of pair 1 is .*-1"),
        ([0.1, 0.2], [1, 0], 0.0, r"not in \(0, 1\]"),
        ([0.1, float("nan")], [1, 0], 0.1, "the score of pair 1 is nan"),
        ([0.1, 0.2, 0.3], [1, 0], 0.1, "one score a pair"),
    ],
)
def test_tar_at_far_refuses(scores, labels, far, words):
    with pytest.raises(ERROR, match=words):
        facekd.eval.tar_at_far(scores, labels, far)


def test_neither_needs_torch():
    code = (
        "import sys, facekd\n"
        "point = facekd.eval.tar_at_far([0.9, 0.1, 0.2], [1, 0, 0], 0.5)\n"
        "assert facekd.verify([1.0, 0.0], [1.0, 0.1], point.threshold).same\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
