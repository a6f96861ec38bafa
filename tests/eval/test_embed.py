from dataclasses import dataclass, field

import numpy as np
import pytest

from facekd.data_tools.pairs import PairSet
from facekd.errors import FacekdError
from facekd.eval.embed import embed_images, image_sizes, score_pairs
from facekd.preprocess import Preprocess


@dataclass
class Rows:
    """An embedder whose embedding is the mean colour of every row, and of every column."""

    preprocess: Preprocess = field(default_factory=lambda: Preprocess(8))
    name: str = "rows"
    embedding_dim: int = 48
    batches: list[int] = field(default_factory=list)

    def embed(self, images, flip=False):
        self.batches.append(len(images))
        out = np.concatenate([images.mean(axis=a).reshape(len(images), -1) for a in (1, 2)], axis=1)
        return (out + self.embed_one_way(images[:, :, ::-1]) if flip else out).astype(np.float32)

    def embed_one_way(self, images):
        return self.embed(images)


class Counted:
    """Images that remember how many of them are out at once."""

    def __init__(self, images):
        self.images, self.asked = images, []

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.images[index]


def faces(count=10, size=8):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def test_every_image_is_embedded_once_in_order_by_the_batch():
    images, model = Counted(faces()), Rows()
    got = embed_images(images, model, flip=False, batch_size=4)
    assert images.asked == list(range(10))
    assert model.batches == [4, 4, 2]
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, Rows().embed(faces()))


def test_flip_is_passed_on():
    with_flip = embed_images(faces(), Rows(), flip=True)
    np.testing.assert_array_equal(with_flip, Rows().embed(faces(), flip=True))
    assert (with_flip != embed_images(faces(), Rows(), flip=False)).any()


def test_images_of_another_size_are_resized_and_it_is_said():
    pairs = PairSet(
        "made", faces(4, 16), *np.array([[0, 2], [1, 3]]), np.array([True, False]), np.array([0, 1])
    )
    assert image_sizes(pairs.images, Rows()) == "16x16 -> 8x8"
    assert image_sizes(pairs.images, Rows(Preprocess(16))) == "16x16"
    scores = score_pairs(pairs, Rows(), flip=False)
    means = faces(4, 16).reshape(4, 8, 2, 8, 2, 3).mean(axis=(2, 4))  # what area averages are
    e = np.concatenate([means.mean(axis=a).reshape(4, -1) for a in (1, 2)], axis=1)
    e /= np.linalg.norm(e, axis=1, keepdims=True)
    np.testing.assert_allclose(scores, [e[0] @ e[1], e[2] @ e[3]], atol=1e-4)


def test_an_embedding_that_is_not_finite_is_an_error():
    model = Rows()
    model.embed = lambda images, flip: np.full((len(images), 48), np.nan, dtype=np.float32)
    with pytest.raises(FacekdError, match="rows: the embedding of image 0 is not finite"):
        embed_images(faces(), model)
