import pickle

import numpy as np
import pytest
from sklearn.model_selection import KFold

from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.pairs import PairSet, file_order_folds, from_bin, from_labels
from facekd.errors import FacekdError


def jpegs(count, seed=0):
    rng = np.random.default_rng(seed)
    return [encode_jpeg(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)) for _ in range(count)]


@pytest.mark.parametrize("pairs", [10, 600, 1003, 6000, 7])
def test_folds_in_file_order_are_those_of_kfold(pairs):
    folds = file_order_folds(pairs, 7)
    for fold, (_, held) in enumerate(KFold(7).split(np.arange(pairs))):
        assert np.flatnonzero(folds == fold).tolist() == held.tolist()


def test_a_bin_keeps_each_different_image_once(tmp_path):
    a, b, c = jpegs(3)
    write_bin(tmp_path / "set.bin", [a, b, a, c, b, c] * 4, [True, False, False] * 4)
    pairs = from_bin(tmp_path / "set.bin")
    assert (pairs.name, len(pairs), len(pairs.images)) == ("set", 12, 3)
    assert pairs.left[:3].tolist() == [0, 0, 1]
    assert pairs.right[:3].tolist() == [1, 2, 2]
    assert pairs.same[:3].tolist() == [True, False, False]
    assert pairs.images[2].shape == (8, 8, 3)
    again = pickle.loads(pickle.dumps(pairs))
    assert (again.images[1] == pairs.images[1]).all()


def test_an_image_that_does_not_decode_is_named_by_its_number_in_the_file(tmp_path):
    a, b = jpegs(2)
    write_bin(tmp_path / "set.bin", [a, b, a, b"no image at all"], [True, False])
    pairs = from_bin(tmp_path / "set.bin")
    with pytest.raises(FacekdError, match=r"set\.bin, image 3: "):
        pairs.images[int(pairs.right[1])]


@pytest.mark.parametrize(("same", "missing"), [(True, "impostor"), (False, "genuine")])
def test_one_class_only_is_an_error(tmp_path, same, missing):
    write_bin(tmp_path / "set.bin", jpegs(8), [same] * 4)
    with pytest.raises(FacekdError, match=f"none of its 4 pairs is {missing}"):
        from_bin(tmp_path / "set.bin")


def pair_set(**changes):
    fields = {
        "name": "made",
        "images": [np.zeros((4, 4, 3), np.uint8)] * 4,
        "left": np.array([0, 2]),
        "right": np.array([1, 3]),
        "same": np.array([True, False]),
        "folds": np.array([0, 1]),
    }
    return PairSet(**(fields | changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"right": np.array([1, 4])}, "pair 1 names image 2 and 4, but there are 4"),
        ({"left": np.array([-1, 2])}, "pair 0 names image -1 and 1"),
        ({"left": np.array([0])}, "1 left and 2 right"),
        ({"same": np.array([True, True])}, "none of its 2 pairs is impostor"),
    ],
)
def test_check_says_what_is_wrong(changes, words):
    with pytest.raises(FacekdError, match=words):
        pair_set(**changes).check()


def test_pairs_from_labels_are_balanced_different_and_folds_share_no_identity():
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(30) * 7, 6))
    pairs = from_labels(range(len(labels)), labels, 400, 5, seed=3)
    assert len(pairs) == 400
    assert (pairs.same == (labels[pairs.left] == labels[pairs.right])).all()
    assert (pairs.left != pairs.right).all()
    assert len({frozenset(p) for p in zip(pairs.left, pairs.right, strict=True)}) == 400
    seen = []
    for fold in range(5):
        inside = pairs.folds == fold
        assert pairs.same[inside].sum() == 40 == (~pairs.same[inside]).sum()
        seen.append({*labels[pairs.left[inside]], *labels[pairs.right[inside]]})
    assert sum(map(len, seen)) == len(set.union(*seen)) == 30


def test_the_same_seed_draws_the_same_pairs():
    labels = np.repeat(np.arange(20), 5)
    a, b, c = (from_labels(range(100), labels, 100, 5, seed=s) for s in (1, 1, 2))
    assert (a.left == b.left).all()
    assert (a.right == b.right).all()
    assert (a.left != c.left).any()


@pytest.mark.parametrize(
    ("labels", "pairs", "words"),
    [
        (np.repeat(np.arange(10), 2), 40, "fold 0 .* genuine pairs wanted, 5 there are"),
        (np.repeat(np.arange(2), 20), 40, "fold 0 .* impostor pairs wanted, 0 there are"),
        (np.repeat(np.arange(10), 2), 41, "41 pairs cannot be halved over 2 folds"),
    ],
)
def test_too_few_images_or_identities(labels, pairs, words):
    with pytest.raises(FacekdError, match=words):
        from_labels(range(len(labels)), labels, pairs, 2)
    with pytest.raises(FacekdError, match="labels for 3 images"):
        from_labels(range(3), labels, 40, 2)


@pytest.mark.data
def test_lfw_as_insightface_stores_it(data_dir):
    pairs = from_bin(data_dir / "lfw/lfw.bin")
    assert (len(pairs), len(pairs.images), pairs.same.sum()) == (6000, 7701, 3000)
    assert pairs.images[0].shape == (112, 112, 3)
    for fold in range(10):
        assert pairs.same[pairs.folds == fold].sum() == 300
