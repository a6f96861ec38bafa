"""A teacher's embeddings of every training image and its mirror image, computed once.

Mirroring is the only augmentation, so two views an image are all that training ever asks for.
They lie in one memory-mapped `.npy` file, float16 (n, 2, d), named by the fingerprint of teacher,
images and preprocessing: another teacher or another selection never reads a stale file.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from facekd.data.faces import FaceSet
from facekd.data.loader import BadRecords, make_loader
from facekd.embedder import Embedder
from facekd.errors import FacekdError
from facekd.fingerprint import fingerprint
from facekd.growing_array import GrowingArray, alone, map_array

VIEWS = 2  # the image, the mirror image
_BATCH = 256
_SAVE_EVERY = 40  # batches


class EmbeddingCache:
    """Read access to a finished cache.

    Args:
        array: float16 (n, 2, d); row i, view 0: image i; view 1: its mirror image.
    """

    def __init__(self, array: NDArray[np.float16]) -> None:
        self.array = array

    @property
    def embedding_dim(self) -> int:
        """Width d of the teacher's embeddings."""
        return int(self.array.shape[2])

    def lookup(self, position: Tensor, flipped: Tensor) -> Tensor:
        """Embeddings of a batch of views.

        Args:
            position: int64 (b,), positions in the FaceSet.
            flipped: bool (b,).

        Returns:
            float32 (b, d).
        """
        rows = self.array[position.numpy(), flipped.numpy().astype(np.intp)]
        return torch.from_numpy(rows.astype(np.float32))

    def blocks(self, size: int = 4096) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """(rows, float32 (b, 2, d)) through the whole cache, in order."""
        for start in range(0, len(self.array), size):
            rows = slice(start, start + size)
            yield rows, self.array[rows].astype(np.float32)


def cache_bytes(images: int, embedding_dim: int) -> int:
    """Size on disk of the cache of so many images."""
    return images * VIEWS * embedding_dim * 2


def open_cache(
    teacher: Embedder,
    teacher_fingerprint: str,
    faces: FaceSet,
    folder: Path,
    bad: BadRecords,
    workers: int | None = None,
) -> EmbeddingCache:
    """The cache of a teacher's embeddings, computed now where it does not exist yet.

    An interrupted computation goes on from the last saved block.

    Args:
        teacher: The network.
        teacher_fingerprint: Hash of its weights.
        faces: The images; their size must be the teacher's input size.
        folder: Where caches lie.
        bad: The policy over images that do not decode; a skipped image's row stays zero, and
            training never asks for it.
        workers: Loader processes.

    Raises:
        FacekdError: An image does not decode, an embedding is not finite, or the disk is full.
    """
    parts = ["cache 1", teacher_fingerprint, repr(teacher.preprocess), faces.fingerprint]
    path = folder / f"{fingerprint(parts)}.npy"
    shape = (len(faces), VIEWS, teacher.embedding_dim)
    with alone(path):
        if not path.exists():
            growing = GrowingArray(path, shape, np.float16)
            growing.create()
            blocks = _blocks(teacher, faces, growing.first_row(), bad, workers)
            growing.fill(blocks, _SAVE_EVERY)
            growing.finish()
    return EmbeddingCache(map_array(path, shape, np.float16))


def _blocks(
    teacher: Embedder,
    faces: FaceSet,
    first: int,
    bad: BadRecords,
    workers: int | None,
) -> Iterator[tuple[int, NDArray[np.float16]]]:
    """(first row, float16 (b, 2, d)) from row `first` on; a skipped image's row is zero."""
    starts = range(first, len(faces), _BATCH)
    batches = [[(i, False) for i in range(s, min(s + _BATCH, len(faces)))] for s in starts]
    loader = make_loader(faces, batches, workers=workers)
    with tqdm(total=len(faces), initial=first, desc="teacher embeddings", unit="img") as bar:
        for start, views, batch in zip(starts, batches, loader, strict=True):
            bad.check(batch)
            block = np.zeros((len(views), VIEWS, teacher.embedding_dim), np.float16)
            for view, images in enumerate((batch.images, batch.images.flip(3))):
                block[batch.position.numpy() - start, view] = _embed(teacher, images)
            yield start, block
            bar.update(len(views))


def _embed(teacher: Embedder, images: Tensor) -> NDArray[np.float32]:
    embeddings = teacher.embed(images.numpy())
    if not np.isfinite(embeddings).all() or np.abs(embeddings).max(initial=0) > 6e4:
        raise FacekdError(
            "the teacher gives embeddings that are not finite or do not fit float16; check its "
            "input_range and channels, or train with teacher.cache=never."
        )
    return embeddings
