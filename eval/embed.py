"""Images to embeddings, a batch at a time."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ..data_tools.images import resize
from ..data_tools.pairs import Images, PairSet
from ..errors import FacekdError
from .scores import cosine_scores

if TYPE_CHECKING:
    from ..embedder import Embedder


def embed_images(
    images: Images,
    model: "Embedder",
    *,
    flip: bool = True,
    batch_size: int = 64,
    progress: str = "",
) -> NDArray[np.float32]:
    """Embed images in their order; only one batch of them is ever decoded.

    An image that has not the model's input size is resized to it (`image_sizes` says so in words).

    Args:
        images: n lazily decoded uint8 RGB images.
        model: The network.
        flip: Add the mirrored image's embedding.
        batch_size: Images at a time.
        progress: Title of a progress bar on stderr, shown on a terminal only; none when empty.

    Returns:
        float32 (n, d), not L2-normalised.

    Raises:
        FacekdError: An image does not decode, or an embedding is not finite.
    """
    size = model.preprocess.input_size
    out = np.empty((len(images), model.embedding_dim), dtype=np.float32)
    bar = tqdm(total=len(images), desc=progress, unit="img", disable=None if progress else True)
    with bar:
        for start in range(0, len(images), batch_size):
            stop = min(start + batch_size, len(images))
            batch = np.stack([resize(images[i], size) for i in range(start, stop)])
            out[start:stop] = model.embed(batch, flip=flip)
            bar.update(stop - start)
    if not np.isfinite(out).all():
        bad = int(np.flatnonzero(~np.isfinite(out).all(axis=1))[0])
        raise FacekdError(
            f"{model.name}: the embedding of image {bad} is not finite; the weights are broken or "
            "the input range is wrong."
        )
    return out


def score_pairs(
    pairs: PairSet,
    model: "Embedder",
    *,
    flip: bool = True,
    batch_size: int = 64,
    progress: str = "",
) -> NDArray[np.float64]:
    """The cosine of every pair, float64 (m,); arguments and errors as `embed_images`."""
    embeddings = embed_images(
        pairs.images, model, flip=flip, batch_size=batch_size, progress=progress
    )
    return cosine_scores(embeddings, pairs.left, pairs.right)


def image_sizes(pairs: PairSet, model: "Embedder") -> str:
    """What size the images had and were given, in words: "112x112" or "112x112 -> 64x64"."""
    height, width = pairs.images[0].shape[:2]
    size = model.preprocess.input_size
    if (height, width) == (size, size):
        return f"{width}x{height}"
    return f"{width}x{height} -> {size}x{size}"
