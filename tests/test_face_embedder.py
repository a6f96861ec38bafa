"""FaceEmbedder: scikit-learn's own checks, and that its embeddings are the network's."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from tiny_onnx import write_flat_net

import facekd
from facekd import FaceEmbedder, FacekdError

TINY = Path(__file__).parent / "fixtures/format1_tiny.pt"  # 8 dimensions of 32 x 32 pixels
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
EXPECTED = facekd.load_model(TINY).embed(IMAGES)

# Rows of so many numbers are no square image; such a check is made with a shape that they have.
NO_SQUARE = {
    "check_estimators_overwrite_params": 2,
    "check_estimators_fit_returns_self": 2,
    "check_readonly_memmap_input": 2,
    "check_fit_idempotent": 2,
    "check_fit_check_is_fitted": 2,
    "check_n_features_in": 2,
    "check_estimators_dtypes": 5,
    "check_dtype_object": 10,
    "check_fit2d_1sample": 10,
    "check_array_api_input": 10,
}


@parametrize_with_checks(
    [FaceEmbedder(str(TINY), pixel_max=255)],
    expected_failed_checks=lambda _: {
        name: f"{width} numbers a row are no square image" for name, width in NO_SQUARE.items()
    },
)
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("width", sorted(set(NO_SQUARE.values())))
def test_scikit_learns_checks_with_rows_of_another_shape(width):
    estimator = FaceEmbedder(str(TINY), pixel_max=255, image_shape=(1, width))
    made = check_estimator(estimator, on_fail=None, on_skip=None)
    became = {one["check_name"]: (one["status"], str(one["exception"])) for one in made}
    for name in (name for name, wide in NO_SQUARE.items() if wide == width):
        status, reason = became[name]
        assert status == "passed" or "SCIPY_ARRAY_API is not set" in reason, (name, reason)


@pytest.mark.parametrize(
    "given",
    [
        IMAGES,
        IMAGES.reshape(5, -1),
        IMAGES.reshape(5, -1).tolist(),
        IMAGES.reshape(5, -1).astype(np.float32) / 255,
        pd.DataFrame(IMAGES.reshape(5, -1)),
    ],
    ids=["images", "rows", "list", "floats", "frame"],
)
def test_embeddings_are_the_networks(given):
    made = FaceEmbedder(TINY).fit_transform(given)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, EXPECTED, atol=1e-6)


def test_fitted_on_rows_it_takes_images_too():
    embedder = FaceEmbedder(TINY, flip=True).fit(IMAGES.reshape(5, -1))
    assert embedder.n_features_in_ == 32 * 32 * 3
    expected = facekd.load_model(TINY).embed(IMAGES, flip=True)
    np.testing.assert_allclose(embedder.transform(IMAGES), expected, atol=1e-6)
    assert embedder.get_feature_names_out()[:2].tolist() == ["faceembedder0", "faceembedder1"]


def test_other_sizes_are_resized_and_grey_is_taken_for_all_channels():
    halves = np.repeat(np.repeat(IMAGES, 2, axis=1), 2, axis=2)  # 64 x 64 that average back
    np.testing.assert_allclose(FaceEmbedder(TINY).fit_transform(halves), EXPECTED, atol=1e-6)
    grey = IMAGES[..., 0]
    expected = facekd.load_model(TINY).embed(np.repeat(grey[..., None], 3, axis=3))
    wide = FaceEmbedder(TINY, image_shape=(32, 32)).fit_transform(grey.reshape(5, -1))
    np.testing.assert_allclose(wide, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("given", "how", "words"),
    [
        (IMAGES.astype(np.float64), {}, "pixels up to 255.*pixel_max=255"),
        (IMAGES.astype(np.int64) + 1, {}, "pixels up to 256"),
        (IMAGES[..., :2], {}, r"\(n, height, width, 3\)"),
        (IMAGES.reshape(5, -1)[:, :7], {}, "7 numbers a row are no square image"),
        (IMAGES.reshape(5, -1), {"image_shape": (31, 32)}, "are no 31x32 image"),
        (IMAGES, {"model": "nothing.pt"}, "nothing.pt does not exist"),
    ],
)
def test_what_it_refuses(given, how, words):
    with pytest.raises(FacekdError, match=words):
        FaceEmbedder(**{"model": TINY, **how}).fit_transform(given)


def test_an_onnx_network_is_pickled_cloned_and_searched_over(tmp_path):
    path = write_flat_net(tmp_path / "flat.onnx", size=32, width=4)
    for model in (path, facekd.load_model(path)):
        embedder = FaceEmbedder(model).fit(IMAGES)
        expected = facekd.load_model(path).embed(IMAGES)
        for other in (pickle.loads(pickle.dumps(embedder)), clone(embedder).fit(IMAGES)):
            assert np.array_equal(other.transform(IMAGES), expected)
    pipeline = make_pipeline(FaceEmbedder(path), LogisticRegression())
    again = np.concatenate([IMAGES, IMAGES, IMAGES])
    scores = cross_val_score(pipeline, again, np.arange(15) % 5, cv=3, error_score="raise")
    assert scores.shape == (3,)
