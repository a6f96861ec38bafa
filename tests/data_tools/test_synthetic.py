import pickle
import subprocess
import sys

import numpy as np
import pytest

from facekd.data_tools.synthetic import CAPTURE, IDENTITY, SyntheticFaces
from facekd.errors import FacekdError


def test_labels_length_and_sizes():
    faces = SyntheticFaces(3, 4, size=48)
    assert len(faces) == 12
    assert faces.labels.dtype == np.int64
    assert faces.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    for size in (16, 48, 113):
        image = SyntheticFaces(3, 4, size=size).image(np.int64(11))
        assert image.dtype == np.uint8
        assert image.shape == (size, size, 3)
        assert image.flags.c_contiguous


def test_an_image_depends_on_nothing_but_its_address():
    faces = SyntheticFaces(4, 3, size=32, seed=5)
    forward = [faces.image(i) for i in range(12)]
    copy = pickle.loads(pickle.dumps(faces))
    backward = [copy.image(i) for i in reversed(range(12))][::-1]
    np.testing.assert_array_equal(forward, backward)
    more = SyntheticFaces(100, 7, size=32, seed=5)
    np.testing.assert_array_equal(more.image(7 * 3 + 2), forward[3 * 3 + 2])


def test_another_process_draws_the_same():
    code = (
        "import sys; from facekd.data_tools.synthetic import SyntheticFaces as S;"
        "sys.stdout.buffer.write(S(4, 3, size=32, seed=5, split='eval').image(7).tobytes())"
    )
    drawn = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert drawn == SyntheticFaces(4, 3, size=32, seed=5, split="eval").image(7).tobytes()


def test_no_identity_of_one_split_or_seed_occurs_in_another():
    sets = [
        SyntheticFaces(300, 1, seed=seed, split=split)
        for seed in (0, 1, 2**32)
        for split in ("train", "eval")
    ]
    vectors = np.array([list(s.traits(k).values()) for s in sets for k in range(300)])
    middle, half = np.array(list(IDENTITY.values())).T
    units = (vectors - middle) / np.where(half > 0, half, 1)
    assert np.abs(units).max() <= 1
    assert np.linalg.matrix_rank(units - units.mean(axis=0)) == len(IDENTITY) >= 30
    closest = min(
        np.linalg.norm(units[k + 1 :] - units[k], axis=1).min() for k in range(len(units) - 1)
    )
    assert closest > 1.0


def test_images_of_one_identity_differ():
    faces = SyntheticFaces(1, 6, size=32)
    images = np.stack([faces.image(i) for i in range(6)]).astype(int)
    for i in range(5):
        assert np.abs(images[i + 1 :] - images[i]).mean(axis=(1, 2, 3)).min() > 5
    assert not set(IDENTITY) & set(CAPTURE)


def best_accuracy(vectors: np.ndarray, images_per_identity: int) -> float:
    """Best-threshold accuracy of the cosine over all pairs, both kinds weighted alike."""
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    label = np.arange(len(units)) // images_per_identity
    left, right = np.triu_indices(len(units), k=1)
    scores = (units @ units.T)[left, right]
    same = (label[left] == label[right])[np.argsort(-scores)]
    accepted = np.cumsum(same) / same.sum()
    false = np.cumsum(~same) / (~same).sum()
    return float((0.5 * (1 + accepted - false)).max())


def test_pixels_alone_do_not_tell_who_it_is():
    faces = SyntheticFaces(80, 8, size=32, split="eval")
    images = np.stack([faces.image(i) for i in range(len(faces))]).astype(np.float64)
    grey = images.mean(axis=3).reshape(len(faces), -1)
    raw = images.reshape(len(faces), -1)
    for vectors in (raw, raw - raw.mean(axis=0), grey - grey.mean(axis=1, keepdims=True)):
        assert best_accuracy(vectors, 8) <= 0.60


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"identities": 0}, "identities"),
        ({"images_per_identity": -1}, "images_per_identity"),
        ({"identities": 2.0}, "identities"),
        ({"size": 8}, "size"),
        ({"size": True}, "size"),
        ({"seed": -1}, "seed"),
        ({"split": "test"}, "'train' or 'eval'"),
    ],
)
def test_bad_arguments(arguments, word):
    with pytest.raises(FacekdError, match=word):
        SyntheticFaces(**({"identities": 2, "images_per_identity": 2} | arguments))


@pytest.mark.parametrize("index", [-1, 4, 1.0])
def test_bad_index(index):
    with pytest.raises(FacekdError, match="image index"):
        SyntheticFaces(2, 2).image(index)
