"""A teacher whose embeddings are a matrix times the pixels."""

import numpy as np

from facekd.preprocess import Preprocess


class Pixels:
    """It may be interrupted after so many images, or give one value for all."""

    name = "pixels"
    embedding_dim = 6

    def __init__(self, seed=0, fail_after=None, value=None, preprocess=None):
        self.preprocess = preprocess or Preprocess(32)
        matrix = np.random.default_rng(seed).normal(size=(32 * 32 * 3, 6)) / 400
        self.matrix = matrix.astype(np.float32)
        self.seen, self.fail_after, self.value = 0, fail_after, value

    def embed(self, images, flip=False):
        """See `facekd.embedder.Embedder.embed`; numpy arrays whatever it is given."""
        self.seen += len(images)
        if self.fail_after is not None and self.seen > self.fail_after:
            raise KeyboardInterrupt
        images = np.asarray(images)
        assert images.shape[1:] == (3, 32, 32)
        if self.value is not None:
            return np.full((len(images), 6), self.value, np.float32)
        pixels = np.ascontiguousarray(images).reshape(-1, 32 * 32 * 3)
        return (pixels.astype(np.float32) - 127) @ self.matrix
