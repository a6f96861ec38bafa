"""Batches with several images of a person in them."""

import numpy as np
import pytest

from facekd.data.augment import Augment
from facekd.data.batches import Batches

LABELS = np.array([0, 0, 1, -1, 2, 2, 2, 1, 3, -1, 4, 4, 4, 4, 4, 1])


def draw(batch_size=8, start=0, stop=12, seed=1, **settings):
    settings = {"labels": LABELS, "per_identity": 2, "share": 0.5, **settings}
    return list(Batches(len(LABELS), batch_size, seed, Augment(), start, stop, **settings))


def test_a_share_of_each_batch_has_so_many_images_of_each_person():
    seen = set()
    for views in draw():
        assert len(views) == 8
        people = LABELS[[position for position, _ in views[:4]]].reshape(2, 2)
        assert (people[:, 0] == people[:, 1]).all()
        assert len(set(people[:, 0])) == 2
        pairs = np.array([position for position, _ in views[:4]]).reshape(2, 2)
        assert (pairs[:, 0] != pairs[:, 1]).all()
        seen |= set(people[:, 0].tolist())
    assert seen == {0, 1, 2, 4}  # 3 has one image only, -1 is nobody


def test_the_rest_is_drawn_as_ever():
    plain = list(Batches(len(LABELS), 8, 1, Augment(), 0, 12))
    for ours, theirs in zip(draw(), plain, strict=True):
        assert ours[4:] == theirs[4:]


def test_fewer_people_and_images_than_asked_are_repeated():
    views = draw(per_identity=6, share=1.0, batch_size=16)[0]
    people = LABELS[[position for position, _ in views[:12]]].reshape(-1, 6)
    assert (people == people[:, :1]).all()
    many = draw(per_identity=2, share=1.0, batch_size=16)[0]
    assert len(many) == 16


@pytest.mark.parametrize("start", [1, 2, 5, 11])
def test_starting_anywhere_gives_the_undisturbed_sequence(start):
    assert draw(start=start) == draw()[start:]
