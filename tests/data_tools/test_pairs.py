import pickle

import numpy as np
import pytest
from sklearn.model_selection import KFold

from facekd.data_tools.binfile import write_bin
from facekd.data_tools.images import encode_jpeg
from facekd.data_tools.pairs import (
    PairSet,
    file_order_folds,
    first_of_pair,
    from_bin,
)
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


def test_a_bin_tells_of_repeated_contradictory_and_pointless_pairs(tmp_path):
    a, b, c = jpegs(3)
    write_bin(tmp_path / "odd.bin", [a, b, b, a, a, c, c, c, a, c], [1, 1, 0, 1, 1])
    odd = from_bin(tmp_path / "odd.bin")
    assert odd.source == (
        f"{tmp_path / 'odd.bin'} (pairs kept as they are: 2 that occurred before, "
        "1 called both genuine and impostor, 1 of an image with itself)"
    )
    assert len(odd) == 5
    write_bin(tmp_path / "plain.bin", [a, b, a, c], [1, 0])
    assert from_bin(tmp_path / "plain.bin").source == str(tmp_path / "plain.bin")


def test_the_fingerprint_is_that_of_the_images_in_their_order(tmp_path):
    a, b, c = jpegs(3)
    prints = []
    for i, images in enumerate(([a, b, a, c], [a, b, b, c], [a, c, a, b])):
        write_bin(tmp_path / f"{i}.bin", images, [True, False])
        prints.append(from_bin(tmp_path / f"{i}.bin").fingerprint)
    assert prints[0] == prints[1] != prints[2]
    assert len(prints[0]) == 16


def test_the_first_of_a_pair_whatever_its_order():
    left, right = np.array([4, 1, 2, 4, 1]), np.array([2, 1, 4, 1, 4])
    assert first_of_pair(left, right).tolist() == [0, 1, 0, 3, 3]
    assert first_of_pair(left[:0], right[:0]).tolist() == []


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
        ({"folds": np.array([0])}, "1 fold numbers and 2 groups"),
        ({"groups": np.array(["old"])}, "2 fold numbers and 1 groups"),
        ({"subjects": np.arange(3, dtype=np.int32)}, "3 subjects for 4 images"),
        ({"ids": ["a"]}, "1 ids for 4 images"),
        ({"found": np.ones(2, bool)}, "2 found flags for 4 images"),
    ],
)
def test_check_says_what_is_wrong(changes, words):
    with pytest.raises(FacekdError, match=words):
        pair_set(**changes).check()


@pytest.mark.data
def test_lfw_as_insightface_stores_it(data_dir):
    pairs = from_bin(data_dir / "lfw/lfw.bin")
    assert (len(pairs), len(pairs.images), pairs.same.sum()) == (6000, 7701, 3000)
    assert pairs.images[0].shape == (112, 112, 3)
    assert pairs.source == str(data_dir / "lfw/lfw.bin")  # no pair occurs twice
    for fold in range(10):
        assert pairs.same[pairs.folds == fold].sum() == 300
