"""A face network as scikit-learn sees one: a transformer from pixels to embeddings."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from facekd.data_tools.images import resize
from facekd.errors import FacekdError

if TYPE_CHECKING:
    from facekd.embedder import Embedder

_ROWS = 256  # images that are brought to the network's size and type at a time


class FaceEmbedder(
    ClassNamePrefixFeaturesOutMixin,  # type: ignore[misc]  # scikit-learn has no types
    TransformerMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Aligned face crops to embeddings, for scikit-learn's pipelines.

    Images come as (n, h, w, 3), or flattened as (n, h * w * 3); grey ones as (n, h * w). Other
    sizes than the network's are resized; nothing is aligned. `fit` loads the network and learns
    nothing.

    Args:
        model: A network's file, or a loaded one (`facekd.load_model`).
        flip: Add the embedding of the mirrored image.
        image_shape: (h, w) of flattened images; None: they are square.
        pixel_max: What full intensity is; None: 255 for integers and 1 for floats, as
            scikit-learn's own images have it.
        device: Where a network that is given as a file runs.

    Attributes:
        network_: The loaded network.
        n_features_in_: Numbers an image has.
        feature_names_in_: Where X is a data frame with names.
    """

    def __init__(
        self,
        model: "str | Path | Embedder",
        *,
        flip: bool = False,
        image_shape: tuple[int, int] | None = None,
        pixel_max: float | None = None,
        device: str = "cpu",
    ) -> None:
        self.model = model
        self.flip = flip
        self.image_shape = image_shape
        self.pixel_max = pixel_max
        self.device = device

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Load the network, and look at the shape of the images.

        Args:
            X: Images, (n, h, w, 3), (n, h * w * 3) or (n, h * w).
            y: Ignored.

        Raises:
            FacekdError: The file is no network's, the width of X fits no image, or a value is above
                `pixel_max`.
            ValueError: As scikit-learn's estimators: no images, or values that are not finite or
                below 0.
        """
        self._images(X, fitting=True)
        if isinstance(self.model, str | Path):
            from facekd.model import load_model

            self.network_ = load_model(self.model, device=self.device)
        else:
            self.network_ = self.model
        self._n_features_out = self.network_.embedding_dim
        return self

    def transform(self, X: ArrayLike) -> NDArray[np.float32]:
        """Embed images.

        Args:
            X: Images like those of `fit`, with values 0..`pixel_max`.

        Returns:
            Float32 (n, embedding_dim), not L2-normalised: `sklearn.preprocessing.Normalizer` does.

        Raises:
            FacekdError: A value is above `pixel_max`.
            ValueError: As `fit`, or another width than there.
        """
        check_is_fitted(self)
        images = self._images(X, fitting=False)
        size = self.network_.preprocess.input_size
        scale = 255 / self._pixel_max(images)
        out = np.empty((len(images), self._n_features_out), dtype=np.float32)
        for start in range(0, len(images), _ROWS):
            pixels = np.rint(images[start : start + _ROWS] * scale).astype(np.uint8)
            batch = np.stack([resize(_colour(image), size) for image in pixels])
            out[start : start + _ROWS] = self.network_.embed(batch, flip=self.flip)
        return out

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _images(self, X: ArrayLike, fitting: bool) -> NDArray[Any]:
        """The images, checked, as numbers (n, h, w, 1 or 3)."""
        shape = np.shape(X) if isinstance(X, np.ndarray | list) else ()
        if len(shape) == 4:
            if shape[3] != 3:
                raise FacekdError(f"images of shape {shape}; give (n, height, width, 3).")
            X = np.reshape(X, (shape[0], math.prod(shape[1:])))
        rows: NDArray[Any] = validate_data(self, X, reset=fitting, ensure_non_negative=True)
        most = self._pixel_max(rows)
        if rows.max() > most:
            raise FacekdError(
                f"pixels up to {rows.max():g}, and {rows.dtype} ones are taken to go up to "
                f"{most:g}; say what full intensity is, such as pixel_max=255."
            )
        return rows.reshape(shape if len(shape) == 4 else (-1, *self._shape(rows.shape[1])))

    def _shape(self, width: int) -> tuple[int, int, int]:
        """Height, width and channels of a flattened image."""
        for channels in (1, 3):
            if self.image_shape is not None:
                height, across = self.image_shape
            else:
                height = across = math.isqrt(width // channels)
            if height * across * channels == width:
                return height, across, channels
        wanted = "square" if self.image_shape is None else "x".join(map(str, self.image_shape))
        raise FacekdError(
            f"{width} numbers a row are no {wanted} image, neither in colour nor grey; give "
            "image_shape=(height, width), or images (n, height, width, 3)."
        )

    def _pixel_max(self, pixels: NDArray[Any]) -> float:
        """What full intensity is."""
        return self.pixel_max or (255.0 if np.issubdtype(pixels.dtype, np.integer) else 1.0)


def _colour(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(h, w, 1 or 3) as (h, w, 3)."""
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
