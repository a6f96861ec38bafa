import json
import os

import numpy as np
import pytest
import torch

from facekd.data.augment import Augment
from facekd.data.faces import load_faces
from facekd.data.loader import BadRecords, make_loader
from facekd.errors import FacekdError
from facekd.preprocess import Preprocess
from facekd.recipe import Data
from facekd.teacher import cache as module
from facekd.teacher.cache import EmbeddingCache, open_cache
from facekd.teacher.centres import class_centres


class Pixels:
    """A teacher that multiplies pixels with a fixed matrix; it may fail after so many images."""

    name = "pixels"
    embedding_dim = 6

    def __init__(self, seed=0, fail_after=None, value=None, preprocess=None):
        self.preprocess = preprocess or Preprocess(32)
        matrix = np.random.default_rng(seed).normal(size=(32 * 32 * 3, 6)) / 400
        self.matrix = matrix.astype(np.float32)
        self.seen, self.fail_after, self.value = 0, fail_after, value

    def embed(self, images, flip=False):
        self.seen += len(images)
        if self.fail_after is not None and self.seen > self.fail_after:
            raise KeyboardInterrupt
        images = np.asarray(images)
        assert images.shape[1:] == (3, 32, 32)
        if self.value is not None:
            return np.full((len(images), 6), self.value, np.float32)
        pixels = np.ascontiguousarray(images).reshape(-1, 32 * 32 * 3)
        return (pixels.astype(np.float32) - 127) @ self.matrix


@pytest.fixture(scope="module")
def faces():
    data = Data(source="synthetic", synthetic={"identities": 5, "images_per_identity": 5})
    return load_faces(data, 32)[0]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 4)
    monkeypatch.setattr(module, "_SAVE_EVERY", 2)


def compute(faces, folder, teacher=None, name="weights", policy="error", ceiling=0.5):
    bad = BadRecords(policy, ceiling, len(faces))
    return open_cache(teacher or Pixels(), name, faces, folder, bad, workers=0)


def test_rows_are_the_teachers_embeddings_of_both_views(faces, tmp_path):
    cache = compute(faces, tmp_path)
    assert cache.embedding_dim == 6
    assert cache.array.shape == (25, 2, 6)
    views = [(17, True), (0, False), (24, True), (17, False)]
    (batch,) = make_loader(faces, [views], Augment(), workers=0)
    direct = Pixels().embed(batch.images.numpy())
    looked_up = cache.lookup(batch.position, batch.look)
    assert looked_up.dtype == torch.float32
    assert np.allclose(looked_up.numpy(), direct, rtol=2e-3, atol=1e-3)
    assert np.abs(direct[0] - direct[3]).max() > 0.01  # the two views differ


def test_a_finished_cache_is_not_computed_again(faces, tmp_path):
    compute(faces, tmp_path)
    teacher = Pixels()
    compute(faces, tmp_path, teacher)
    assert teacher.seen == 0


def test_another_teacher_images_or_preprocessing_never_read_it(faces, tmp_path):
    first = compute(faces, tmp_path).array
    others = load_faces(
        Data(source="synthetic", synthetic={"identities": 5, "images_per_identity": 5, "seed": 1}),
        32,
    )[0]
    fewer = load_faces(
        Data(source="synthetic", synthetic={"identities": 5, "images_per_identity": 5}, holdout=1),
        32,
    )[0]
    assert not np.allclose(compute(faces, tmp_path, Pixels(1), "other weights").array, first)
    assert not np.allclose(compute(others, tmp_path).array, first)
    assert compute(fewer, tmp_path).array.shape[0] == 20
    compute(faces, tmp_path, Pixels(preprocess=Preprocess(32, (0.0, 255.0))))
    assert len(list(tmp_path.glob("*.npy"))) == 5


def test_an_interrupted_computation_goes_on(faces, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compute(faces, tmp_path, Pixels(fail_after=2 * 18))
    (part,) = tmp_path.glob("*.part.npy")
    assert json.loads(part.with_suffix(".json").read_text()) == {"done": 16}
    teacher = Pixels()
    cache = compute(faces, tmp_path, teacher)
    assert teacher.seen == 2 * (25 - 16)
    assert np.array_equal(cache.array, compute(faces, tmp_path / "new").array)
    assert not list(tmp_path.glob("*.part.*"))


@pytest.mark.parametrize("damage", ["short", "other", "empty"])
def test_a_damaged_cache_is_told(faces, tmp_path, damage):
    compute(faces, tmp_path)
    (path,) = tmp_path.glob("*.npy")
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "other":
        np.save(path, np.zeros((25, 2, 7), np.float16))
    else:
        path.write_bytes(b"")
    with pytest.raises(FacekdError, match=r"\.npy is not the cache it should be .*delete it"):
        compute(faces, tmp_path)


def test_a_damaged_part_is_told(faces, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compute(faces, tmp_path, Pixels(fail_after=2 * 18))
    (part,) = tmp_path.glob("*.part.npy")
    part.unlink()
    with pytest.raises(FacekdError, match=r"part.npy is not the cache .*part.json"):
        compute(faces, tmp_path)


def test_a_full_disk_is_told_before_the_first_embedding(faces, tmp_path, monkeypatch):
    def full(handle, offset, length):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    teacher = Pixels()
    with pytest.raises(FacekdError, match="No space left on device; they take 600 bytes"):
        compute(faces, tmp_path, teacher)
    assert teacher.seen == 0
    assert not list(tmp_path.glob("*.npy"))


@pytest.mark.parametrize("value", [np.nan, np.inf, 7e4])
def test_embeddings_that_do_not_fit_are_told(faces, tmp_path, value):
    with pytest.raises(FacekdError, match="not finite or do not fit float16"):
        compute(faces, tmp_path, Pixels(value=value))


class Spoilt:
    """A source some of whose images do not decode."""

    def __init__(self, source, bad):
        self.__dict__.update(source.__dict__, bad=bad, real=source)

    def image(self, i):
        if i in self.bad:
            raise FacekdError(f"image {i}: no picture.")
        return self.real.image(i)


def test_skipped_images_leave_the_other_rows_in_place(faces, tmp_path):
    whole = compute(faces, tmp_path).array
    spoilt = type(faces)(
        Spoilt(faces.source, {6, 24}), faces.rows, faces.labels, faces.label_map, faces.size
    )
    with pytest.raises(FacekdError, match="image 6: no picture"):
        compute(spoilt, tmp_path / "b")
    cache = compute(spoilt, tmp_path / "b", policy="skip").array  # 24 is a block of its own
    good = np.setdiff1d(np.arange(25), [6, 24])
    assert np.array_equal(cache[good], whole[good])
    assert not cache[[6, 24]].any()


def test_class_centres_against_a_slow_loop(faces, tmp_path):
    cache = compute(faces, tmp_path)
    head = class_centres(cache, faces)
    assert head.frozen
    for c in range(5):
        total = np.zeros(6)
        for i in np.flatnonzero(faces.labels == c):
            for view in range(2):
                row = cache.array[i, view].astype(np.float64)
                total += row / np.sqrt((row**2).sum())
        expected = total / np.sqrt((total**2).sum())
        assert np.allclose(head.weight[c].numpy(), expected, atol=1e-5)


def test_a_class_without_mean_is_named(faces):
    array = np.ones((25, 2, 6), np.float16)
    array[faces.labels == 3] = 0
    with pytest.raises(FacekdError, match="identity 'synthetic-3' add up to nothing"):
        class_centres(EmbeddingCache(array), faces)
