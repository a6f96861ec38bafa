import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from facekd.data_tools.labelled import open_labelled
from facekd.errors import FacekdError
from facekd.eval import all_pairs
from facekd.eval.all_pairs import BIN, count_pairs, score_all_pairs
from facekd.eval.operating import auc, equal_error_rate, tar_at_far
from facekd.eval.scores import SortedScores, sort_scores

FARS = (0.5, 1e-1, 1e-2, 1e-3, 1e-8)


def brute_force(unit: np.ndarray, labels: np.ndarray) -> SortedScores:
    """Every pair's score on its own, by two loops."""
    scores, same = [], []
    for i in range(len(unit)):
        for j in range(i):
            scores.append(min(max(sum(unit[i] * unit[j], np.float32(0)), -1), 1))
            same.append(labels[i] == labels[j])
    return sort_scores(np.array(scores, dtype=np.float32), np.array(same))


def faces(identities: int, each: int, dim: int = 32, spread: float = 0.9, seed: int = 0):
    """Unit embeddings around one centre an identity, in shuffled order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(identities), each))
    centres = rng.standard_normal((identities, dim))
    raw = centres[labels] + spread * rng.standard_normal((len(labels), dim))
    unit = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    return unit.astype(np.float32), labels


@st.composite
def sets_with_ties(draw):
    """Embeddings whose products are exact in float32 (corners of a cube), many of them equal."""
    images = draw(st.integers(3, 24))
    dim = draw(st.sampled_from([4, 16, 64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    labels = rng.integers(0, draw(st.integers(1, 8)), images)
    centres = rng.random((8, dim)) < 0.5
    signs = centres[labels] ^ (rng.random((images, dim)) < draw(st.sampled_from([0.1, 0.3, 0.5])))
    sizes = np.unique(labels, return_counts=True)[1]
    assume(len(sizes) > 1 and sizes.max() > 1)
    return np.where(signs, 1, -1).astype(np.float32) / np.float32(dim**0.5), labels


@settings(max_examples=200, deadline=None)
@given(
    sets_with_ties(),
    st.integers(1, 30),
    st.lists(st.floats(1e-3, 1), min_size=1, max_size=5),
    st.sampled_from([1 / 2, 1 / 8, 2.0**-13]),
)
def test_operating_points_equal_those_of_every_pair(made, block, fars, width):
    """Wide bins, so that genuine, impostor and deciding scores meet in one bin."""
    unit, labels = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(all_pairs, "BIN", width)
        scores = score_all_pairs(unit, labels, fars, block=block)
    exact = brute_force(unit, labels)
    assert np.array_equal(scores.genuine, exact.genuine)
    assert scores.impostors == exact.impostors
    for far in fars:
        assert tar_at_far(scores, far) == tar_at_far(exact, far)
    rounded = np.repeat(scores.impostor, scores.impostor_counts)
    assert abs(rounded - exact.impostor).max() <= width / 2


@pytest.mark.parametrize("block", [7, 64, 1000])
@pytest.mark.parametrize(("identities", "each"), [(2, 40), (12, 7), (60, 2)])
def test_scores_of_any_value(identities, each, block):
    unit, labels = faces(identities, each)
    scores = score_all_pairs(unit, labels, FARS, block=block)
    exact = brute_force(unit, labels)
    assert scores.genuine == pytest.approx(exact.genuine, abs=1e-6)
    rounded = np.repeat(scores.impostor, scores.impostor_counts)
    assert abs(rounded - exact.impostor).max() <= BIN / 2 + 1e-6
    for far in FARS:
        ours, theirs = tar_at_far(scores, far), tar_at_far(exact, far)
        assert (ours.tar, ours.false_accepts) == (theirs.tar, theirs.false_accepts)
        assert ours.threshold == pytest.approx(theirs.threshold, abs=1e-6)
    assert auc(scores) == pytest.approx(auc(exact), abs=1e-4)
    assert equal_error_rate(scores) == pytest.approx(equal_error_rate(exact), abs=1e-4)


@settings(max_examples=100, deadline=None)
@given(
    sets_with_ties(),
    st.lists(st.integers(-40, 40).map(lambda n: n / 32) | st.floats(-1.5, 1.5), max_size=4),
)
def test_false_accepts_at_thresholds_set_elsewhere_are_those_of_every_pair(made, thresholds):
    unit, labels = made
    near = [np.nextafter(t, side) for t in thresholds for side in (-2.0, 2.0)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(all_pairs, "BIN", 1 / 8)
        scores = score_all_pairs(unit, labels, [0.1], thresholds=[*thresholds, *near], block=11)
    exact = brute_force(unit, labels)
    for threshold in [*thresholds, *near]:
        assert scores.false_accepts(threshold) == exact.false_accepts(threshold)


def test_order_of_images_and_names_of_labels_do_not_matter():
    unit, labels = faces(15, 6)
    names = np.array([f"person {k:02}" for k in range(15)])[labels]
    turn = np.random.default_rng(1).permutation(len(labels))
    points = [tar_at_far(score_all_pairs(unit, names, FARS, block=16), far) for far in FARS]
    turned = score_all_pairs(unit[turn], labels[turn], FARS, block=32)
    for point, far in zip(points, FARS, strict=True):
        other = tar_at_far(turned, far)
        assert (other.tar, other.false_accepts) == (point.tar, point.false_accepts)


def test_nothing_accepted_is_nothing_accepted(monkeypatch):
    """Impostors score above every genuine pair: the threshold lies above the highest of all."""
    monkeypatch.setattr(all_pairs, "BIN", 1 / 8)
    unit = np.array([[1, 0], [0, 1], [0.8, 0.6], [0.6, 0.8]], dtype=np.float32)
    scores = score_all_pairs(unit, [0, 0, 1, 2], [0.2])
    point = tar_at_far(scores, 0.2)
    assert (point.tar, point.false_accepts) == (0, 0)
    assert 0.96 < point.threshold < 0.9600002


def test_blocks_below_all_deciding_scores_are_computed_once(monkeypatch):
    """Only high FARs need every block again."""
    products = []
    split = all_pairs._Blocks._split
    monkeypatch.setattr(
        all_pairs._Blocks, "_split", lambda *a: products.append(a[1:3]) or split(*a)
    )
    unit, labels = faces(300, 2)
    score_all_pairs(unit, labels, [1e-4], block=30)
    assert len(products[:210]) == len(set(products[:210]))
    assert 210 < len(products) < 300
    products.clear()
    score_all_pairs(unit, labels, [0.5], block=30)
    assert len(products) == 420


def test_memory_is_that_of_a_block_not_of_all_pairs():
    unit, labels = faces(4000, 2, dim=8)
    tracemalloc.start()
    score_all_pairs(unit, labels, (1e-1, 1e-3), block=1024)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    scores_alone = 4 * len(unit) * (len(unit) - 1) // 2
    assert scores_alone > 120e6
    assert peak < 80e6


def test_many_equal_deciding_scores_are_kept_once(monkeypatch):
    monkeypatch.setattr(all_pairs, "_KEPT", 10)
    unit = np.ones((40, 1), dtype=np.float32)
    scores = score_all_pairs(unit, np.arange(40) // 2, [0.5, 1.0], block=8)
    assert (scores.impostor.tolist(), scores.impostor_counts.tolist()) == ([1.0], [760])
    assert len(scores.genuine) == 20


def test_products_that_change_between_the_passes_are_an_error(monkeypatch):
    unit, labels = faces(10, 3)
    matmul, calls = np.matmul, []

    def drifting(a, b, out):
        calls.append(1)
        return matmul(a * np.float32(1 - 1e-5 * len(calls)), b, out=out)

    monkeypatch.setattr(all_pairs.np, "matmul", drifting)
    with pytest.raises(FacekdError, match=r"not the same twice; use one thread"):
        score_all_pairs(unit, labels, [0.1])


def test_count_pairs():
    assert count_pairs([5, 5, 5, 2, 2, 9]) == (4, 11)
    unit, labels = faces(9, 4)
    scores = score_all_pairs(unit, labels, [0.1])
    assert (len(scores.genuine), scores.impostors) == count_pairs(labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1, 2, 3], r"none of the 4 identities has two images \(4 images\)"),
        ([6, 6, 6, 6], "all 4 images are of one identity"),
        ([0, 0, 1], r"labels of shape \(3,\) for embeddings of shape \(4, 2\)"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(FacekdError, match=message):
        score_all_pairs(np.eye(2, dtype=np.float32)[[0, 1, 0, 1]], labels, [0.1])


@pytest.mark.parametrize("value", [0, 2, np.nan, np.inf])
def test_embeddings_must_have_norm_one(value):
    unit = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    unit[2, 0] = value
    with pytest.raises(FacekdError, match=f"embedding 2 has norm {value:g}; .* norm one"):
        score_all_pairs(unit, [0, 0, 1, 1], [0.1])


@pytest.mark.data
def test_real_records_by_their_pixels(data_dir):
    """300 face crops of 30 people: as embeddings, their pixels without the mean."""
    found = open_labelled(data_dir / "formats" / "face2rec" / "train.rec")
    pixels = np.stack([found.images[i][::8, ::8].ravel() for i in range(len(found.images))])
    centred = pixels - pixels.mean(axis=1, keepdims=True)
    unit = (centred / np.linalg.norm(centred, axis=1, keepdims=True)).astype(np.float32)
    scores = score_all_pairs(unit, found.labels, FARS, block=128)
    rows, columns = np.tril_indices(300, -1)
    exact = sort_scores(
        (unit @ unit.T)[rows, columns], (found.labels[rows] == found.labels[columns])
    )
    for far in FARS:
        ours, theirs = tar_at_far(scores, far), tar_at_far(exact, far)
        assert (ours.tar, ours.false_accepts) == (theirs.tar, theirs.false_accepts)
