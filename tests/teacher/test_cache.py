import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from pixels_teacher import Pixels
from two_processes import run_together

from facekd.data.augment import Augment
from facekd.data.batches import Batches
from facekd.data.faces import load_faces
from facekd.data.loader import BadRecords, make_loader
from facekd.errors import FacekdError
from facekd.preprocess import Preprocess
from facekd.recipe import Data
from facekd.teacher import cache as module
from facekd.teacher.cache import EmbeddingCache, cache_bytes, open_cache
from facekd.teacher.centres import class_centres


@pytest.fixture(scope="module")
def faces():
    data = Data(source="synthetic", synthetic={"identities": 5, "images_per_identity": 5})
    return load_faces(data, 32)[0]


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    monkeypatch.setattr(module, "_BATCH", 4)
    monkeypatch.setattr(module, "_SAVE_EVERY", 2)


def compute(faces, folder, teacher=None, name="weights", policy="error", ceiling=0.5, augment=None):
    bad = BadRecords(policy, ceiling, len(faces))
    return open_cache(teacher or Pixels(), name, faces, folder, bad, augment, workers=0)


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


VIEWS = Augment(crop=0.4, colour=0.3, views=3)


def test_with_views_rows_are_the_embeddings_of_every_look(faces, tmp_path):
    teacher = Pixels()
    cache = compute(faces, tmp_path, teacher, augment=VIEWS)
    assert cache.array.shape == (25, 6, 6)
    assert teacher.seen == 25 * 6
    for position in range(25):
        looks = [VIEWS.apply(faces[position], position, look) for look in range(6)]
        direct = Pixels().embed(np.stack(looks).transpose(0, 3, 1, 2))
        assert np.allclose(cache.array[position], direct, rtol=2e-3, atol=1e-3)
        apart = np.abs(direct[:, None] - direct).max(axis=2) + np.eye(6)
        assert apart.min() > 0.01  # no two looks are alike


def test_training_asks_only_for_looks_that_are_kept(faces, tmp_path):
    cache = compute(faces, tmp_path, augment=VIEWS)
    steps = Batches(25, 5, 0, VIEWS, 0, 20)
    seen = set()
    for batch in make_loader(faces, steps, VIEWS, workers=0):
        direct = Pixels().embed(batch.images)
        looked_up = cache.lookup(batch.position, batch.look).numpy()
        assert np.allclose(looked_up, direct, rtol=2e-3, atol=1e-3)
        seen |= set(batch.look.tolist())
    assert seen == set(range(6))


def test_new_drawings_at_every_step_cannot_be_kept(faces, tmp_path):
    with pytest.raises(FacekdError, match="here each is drawn anew"):
        compute(faces, tmp_path, augment=Augment(crop=0.1))
    assert not list(tmp_path.iterdir())


def test_the_size_is_told_before_the_start_and_only_then(faces, tmp_path, capsys):
    with pytest.raises(KeyboardInterrupt):
        compute(faces, tmp_path, Pixels(fail_after=0), augment=VIEWS)
    told = f"teacher embeddings: 1.8 KiB in {tmp_path}"  # 25 images x 6 looks x 6 x 2 bytes
    assert told in capsys.readouterr().out
    compute(faces, tmp_path, augment=VIEWS)
    assert told in capsys.readouterr().out
    compute(faces, tmp_path, augment=VIEWS)
    assert capsys.readouterr().out == ""


def test_the_field_s_largest_set_takes_what_is_said():
    assert cache_bytes(1, 1, 512) == 1024
    assert cache_bytes(5_179_510, 2, 512) == pytest.approx(10.6e9, rel=1e-2)  # MS1MV3


@pytest.mark.parametrize(
    "other",
    [
        Augment(),
        Augment(crop=0.3, colour=0.3, views=3),
        Augment(crop=0.4, colour=0.2, views=3),
        Augment(crop=0.4, colour=0.3, views=4),
    ],
)
def test_another_augmentation_never_reads_it(faces, tmp_path, other):
    compute(faces, tmp_path, augment=VIEWS)
    teacher = Pixels()
    cache = compute(faces, tmp_path, teacher, augment=other)
    assert teacher.seen == 25 * other.looks
    assert cache.array.shape == (25, other.looks, 6)
    assert len(list(tmp_path.glob("*.npy"))) == 2


def test_an_interrupted_computation_of_views_goes_on(faces, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        compute(faces, tmp_path, Pixels(fail_after=6 * 18), augment=VIEWS)
    teacher = Pixels()
    cache = compute(faces, tmp_path, teacher, augment=VIEWS)
    assert teacher.seen == 6 * (25 - 16)
    whole = compute(faces, tmp_path / "new", augment=VIEWS)
    assert np.array_equal(cache.array, whole.array)


SHARED = """
import sys
from pathlib import Path

sys.path.insert(0, {tests!r})
import numpy as np
from pixels_teacher import Pixels
from two_processes import run_together
from facekd.data.augment import Augment
from facekd.data.batches import Batches
from facekd.data.faces import load_faces
from facekd.data.loader import BadRecords
from facekd.recipe import Data
from facekd.teacher import cache as module
from facekd.together import Processes

module._BATCH, module._SAVE_EVERY = 4, 2
data = Data(source="synthetic", synthetic={{"identities": 5, "images_per_identity": 5}})
faces = load_faces(data, 32)[0]
augment = Augment(crop=0.4, colour=0.3, views=3)

def compute(teacher):
    bad = BadRecords("error", 0.5, len(faces))
    return module.open_cache(
        teacher, "weights", faces, Path({cache!r}), bad, augment, 0, Processes()
    )

try:
    compute(Pixels(fail_after=6 * 9))
except KeyboardInterrupt:
    result["stopped"] = torch.tensor(True)
dist.barrier()
teacher = Pixels()
cache = compute(teacher)
result["seen"] = torch.tensor(teacher.seen)
result["array"] = torch.from_numpy(np.array(cache.array))
again = Pixels()
compute(again)
result["again"] = torch.tensor(again.seen)
"""


def test_two_processes_fill_one_cache_through_an_interruption(faces, tmp_path):
    tests = Path(__file__).parent.parent
    (tmp_path / "meet").mkdir()
    script = SHARED.format(tests=str(tests), cache=str(tmp_path / "shared"))
    both = run_together(script, tmp_path / "meet")
    whole = compute(faces, tmp_path / "one", augment=VIEWS).array
    for found in both:
        assert found["stopped"]
        assert np.array_equal(found["array"].numpy(), whole)
        assert found["again"] == 0
    # 12 and 13 images, of which 8 were saved: only the others are made again
    assert [int(found["seen"]) for found in both] == [6 * 4, 6 * 5]
    (shared,) = (tmp_path / "shared").glob("*.npy")
    (one,) = (tmp_path / "one").glob("*.npy")
    assert shared.name == one.name
    assert shared.read_bytes() == one.read_bytes()
    assert not list((tmp_path / "shared").glob("*.part*"))


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
