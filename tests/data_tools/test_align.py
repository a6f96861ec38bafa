"""Alignment against insightface's own code and scikit-image (fixtures/make_similarity.py)."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facekd.data_tools.align import TEMPLATE, similarity, warp_face
from facekd.errors import FacekdError

FIXTURES = Path(__file__).parents[1] / "fixtures"
MAKE = runpy.run_path(str(FIXTURES / "make_similarity.py"), run_name="make_similarity")


def test_matrices_equal_scikit_images():
    with np.load(FIXTURES / "similarity.npz") as file:
        theirs = file["matrices"]
    ours = np.stack([similarity(points) for points in MAKE["landmarks"]()])
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_crops_equal_insightfaces():
    with np.load(FIXTURES / "similarity.npz") as file:
        crops = file["crops"].astype(int)
    picture = MAKE["picture"]()
    for points, theirs in zip(MAKE["landmarks"](), crops, strict=True):
        ours = warp_face(picture, points)
        assert (ours.shape, ours.dtype) == ((112, 112, 3), np.uint8)
        assert np.abs(ours[::8, ::8] - theirs).max() <= 1


def test_crops_equal_norm_crops():
    with np.load(FIXTURES / "similarity.npz") as file:
        crops = file["norm_crops"].astype(int)
    picture = MAKE["picture"]()
    for points, theirs in zip(MAKE["landmarks"](), crops, strict=True):
        assert np.abs(warp_face(picture, points)[::4, ::4] - theirs).max() <= 1


@settings(deadline=None)
@given(
    angle=st.floats(-3, 3),
    scale=st.floats(0.1, 10),
    shift=st.tuples(st.floats(-500, 500), st.floats(-500, 500)),
)
def test_a_moved_template_is_moved_back(angle, scale, shift):
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity(TEMPLATE @ turn.T + shift)
    assert matrix[:, :2] @ turn == pytest.approx(np.eye(2), abs=1e-9)
    assert matrix[:, :2] @ shift + matrix[:, 2] == pytest.approx((0, 0), abs=1e-4)


def test_the_crop_grows_with_its_size():
    np.testing.assert_allclose(similarity(TEMPLATE, 224), [[2, 0, 0], [0, 2, 0]], atol=1e-4)


def test_outside_the_picture_is_black():
    white = np.full((40, 40, 3), 255, np.uint8)
    crop = warp_face(white, TEMPLATE - 20)
    assert (crop[30, 30].min(), crop[70:, 70:].max()) == (255, 0)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        (np.full((5, 2), 33.3), r"on one point, \(33.3, 33.3\)"),
        (TEMPLATE[:4], r"shape \(4, 2\)"),
        (np.where(TEMPLATE > 90, np.nan, TEMPLATE), "2 not finite"),
    ],
)
def test_points_that_make_no_face_are_refused(points, message):
    with pytest.raises(FacekdError, match=message):
        similarity(points)


def test_points_that_fix_no_turn_are_refused():
    template = (TEMPLATE - TEMPLATE.mean(0)).astype(np.float64) @ (1, 1j)
    points = np.array([40, 60j, -50, 20 - 30j, 10 + 5j])
    points -= points.mean()
    points -= template * np.vdot(template, points) / np.vdot(template, template)
    with pytest.raises(FacekdError, match="fit a face in no direction"):
        similarity(np.stack([points.real, points.imag], axis=1))
