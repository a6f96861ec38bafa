"""Looks: what training does to an image, by number."""

import numpy as np
import pytest

from facekd.data.augment import Augment
from facekd.data_tools.synthetic import SyntheticFaces
from facekd.recipe import Data

IMAGE = SyntheticFaces(2, 1, 64, 0, split="train").image(0)


def test_mirroring_alone_has_two_looks():
    augment = Augment.of(Data())
    looks = augment.draw(np.random.default_rng(0), 1000)
    assert augment.looks == 2
    assert set(looks.tolist()) == {0, 1}
    assert 400 < looks.sum() < 600
    assert np.array_equal(augment.apply(IMAGE, 7, 0), IMAGE)
    assert np.array_equal(augment.apply(IMAGE, 7, 1), IMAGE[:, ::-1])
    assert augment.fingerprint == ""


def test_a_new_drawing_each_time_cannot_be_kept():
    augment = Augment.of(Data(crop=0.2))
    assert augment.looks is None
    looks = augment.draw(np.random.default_rng(0), 1000)
    assert len(np.unique(looks >> 1)) == 1000
    assert looks.min() >= 0


def test_views_keep_a_number_of_drawings():
    augment = Augment.of(Data(crop=0.2, colour=0.1), views=4)
    looks = augment.draw(np.random.default_rng(0), 1000)
    assert augment.looks == 8
    assert set(looks.tolist()) == set(range(8))
    assert augment.fingerprint != Augment.of(Data(crop=0.3, colour=0.1), views=4).fingerprint
    assert Augment.of(Data(), views=4).looks == 2  # mirroring has no drawings to keep


@pytest.mark.parametrize("settings", [{"crop": 0.3}, {"colour": 0.4}, {"crop": 0.3, "colour": 0.4}])
def test_a_look_is_the_same_for_ever_and_its_mirror_is_its_mirror(settings):
    augment = Augment(**settings)
    a, again = augment.apply(IMAGE, 3, 12), augment.apply(IMAGE.copy(), 3, 12)
    assert a.shape == IMAGE.shape
    assert a.dtype == np.uint8
    assert np.array_equal(a, again)
    assert np.array_equal(augment.apply(IMAGE, 3, 13), a[:, ::-1])
    assert not np.array_equal(augment.apply(IMAGE, 3, 14), a)
    assert not np.array_equal(augment.apply(IMAGE, 4, 12), a)


def test_a_crop_is_a_part_of_the_image():
    ramp = np.broadcast_to(np.arange(0, 128, 2, dtype=np.uint8)[None, :, None], (64, 64, 3)).copy()
    for look in range(0, 40, 2):
        row = Augment(flip=False, crop=0.25).apply(ramp, 0, look)[0, :, 0].astype(int)
        assert (np.diff(row) >= 0).all()
        assert row[-1] - row[0] >= 0.75 * 126 - 4  # a crop of a quarter or less


def test_colours_stay_within_what_is_asked():
    grey = np.full((8, 8, 3), 100, np.uint8)
    means = [Augment(colour=0.2).apply(grey, 0, look).mean() for look in range(0, 200, 2)]
    assert 79 <= min(means) < 85
    assert 115 < max(means) <= 121
