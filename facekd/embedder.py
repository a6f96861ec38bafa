"""Anything that turns face images into embeddings, and the one way images are handed to it."""

from collections.abc import Callable
from typing import Any, Protocol, overload

import numpy as np
import numpy.typing as npt
import torch

from facekd.errors import FacekdError
from facekd.preprocess import Preprocess

BATCH = 64  # images a forward pass: bounds the memory of a large network on a small machine

Array = npt.NDArray[Any]


class Embedder(Protocol):
    """A face network as evaluation and distillation see it, whatever file it came from."""

    name: str
    embedding_dim: int
    preprocess: Preprocess

    @overload
    def embed(self, images: Array, flip: bool = False) -> npt.NDArray[np.float32]: ...
    @overload
    def embed(self, images: torch.Tensor, flip: bool = False) -> torch.Tensor: ...
    def embed(
        self, images: Array | torch.Tensor, flip: bool = False
    ) -> npt.NDArray[np.float32] | torch.Tensor:
        """Embed face crops.

        Args:
            images: Uint8 RGB, (n, s, s, 3) or (n, 3, s, s) with s = `preprocess.input_size`.
            flip: Add the embedding of the mirrored image.

        Returns:
            Float32 (n, embedding_dim), not L2-normalised (the norm carries quality); a numpy
            array for a numpy array, a tensor on the same device for a tensor.

        Raises:
            FacekdError: The images have another dtype, layout or size.
        """
        ...


def embed_in_batches(
    images: Array | torch.Tensor,
    forward: Callable[[torch.Tensor], torch.Tensor],
    *,
    size: int,
    embedding_dim: int,
    flip: bool,
    batch: int = BATCH,
) -> npt.NDArray[np.float32] | torch.Tensor:
    """The common part of every `embed`: check, batch, mirror, sum, give back the same kind.

    Args:
        images: As in `Embedder.embed`.
        forward: Uint8 RGB (b, 3, s, s), b <= batch, to float32 (b, embedding_dim).
        size: s, the only size accepted.
        embedding_dim: Width of the result.
        flip: Add the mirrored images' embeddings.
        batch: Most images `forward` is given at once.
    """
    pixels = as_nchw(images, size)
    out = torch.empty(len(pixels), embedding_dim, device=pixels.device)
    for start in range(0, len(pixels), batch):
        chunk = pixels[start : start + batch]
        embeddings = forward(chunk).float()  # bf16 under autocast; the sum is float32's
        if flip:
            embeddings = embeddings + forward(chunk.flip(3))
        out[start : start + batch] = embeddings
    return out if isinstance(images, torch.Tensor) else out.numpy()


def as_nchw(images: Array | torch.Tensor, size: int) -> torch.Tensor:
    """View uint8 RGB images of either layout as an (n, 3, size, size) tensor.

    Raises:
        FacekdError: Another dtype, layout or image size.
    """
    if not isinstance(images, np.ndarray | torch.Tensor):
        raise FacekdError(f"images are a {type(images).__name__}: give a numpy array or a tensor.")
    if images.dtype not in (np.uint8, torch.uint8):
        raise FacekdError(f"images are {images.dtype}: give uint8 RGB, 0..255.")
    shape = tuple(images.shape)
    if len(shape) != 4 or shape[1:] not in ((size, size, 3), (3, size, size)):
        raise FacekdError(
            f"images have the shape {shape}: this network takes (n, {size}, {size}, 3) or "
            f"(n, 3, {size}, {size}); align and resize them first."
        )
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.require(images, requirements=["C", "W"]))
    return images if shape[1] == 3 else images.permute(0, 3, 1, 2)
