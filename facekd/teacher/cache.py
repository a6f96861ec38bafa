"""A teacher's embeddings of every training image under every look it can have, computed once.

Where mirroring is the only augmentation, two looks an image are all that training ever asks for;
with crops or colours it is two for each of a fixed number of drawings. They lie in one
memory-mapped `.npy` file, float16 (n, looks, d), named by the fingerprint of teacher, images,
preprocessing and looks: another teacher or another selection never reads a stale file.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from facekd.data.augment import Augment
from facekd.data.faces import FaceSet
from facekd.data.loader import BadRecords, make_loader
from facekd.embedder import Embedder
from facekd.errors import FacekdError
from facekd.eval.together import Alone, Together
from facekd.files import in_bytes
from facekd.fingerprint import fingerprint
from facekd.growing_array import GrowingArray, alone, map_array

_BATCH = 256
_SAVE_EVERY = 40  # batches


class EmbeddingCache:
    """Read access to a finished cache.

    Args:
        array: float16 (n, looks, d); row i: image i under every look (`facekd.data.augment`).
    """

    def __init__(self, array: NDArray[np.float16]) -> None:
        self.array = array

    @property
    def embedding_dim(self) -> int:
        """Width d of the teacher's embeddings."""
        return int(self.array.shape[2])

    def lookup(self, position: Tensor, look: Tensor) -> Tensor:
        """Embeddings of a batch of views.

        Args:
            position: int64 (b,), positions in the FaceSet.
            look: int64 (b,).

        Returns:
            float32 (b, d).
        """
        rows = self.array[position.numpy(), look.numpy()]
        return torch.from_numpy(rows.astype(np.float32))

    def blocks(self, size: int = 4096) -> Iterator[tuple[slice, NDArray[np.float32]]]:
        """(rows, float32 (b, looks, d)) through the whole cache, in order."""
        for start in range(0, len(self.array), size):
            rows = slice(start, start + size)
            yield rows, self.array[rows].astype(np.float32)


def cache_bytes(images: int, looks: int, embedding_dim: int) -> int:
    """Size on disk of the cache of so many images."""
    return images * looks * embedding_dim * 2


def open_cache(
    teacher: Embedder,
    teacher_fingerprint: str,
    faces: FaceSet,
    folder: Path,
    bad: BadRecords,
    augment: Augment | None = None,
    workers: int | None = None,
    together: Together | None = None,
) -> EmbeddingCache:
    """The cache of a teacher's embeddings, computed now where it does not exist yet.

    Its size is told before the start. An interrupted computation goes on from the last saved block.
    Several processes compute a share each of the images.

    Args:
        teacher: The network.
        teacher_fingerprint: Hash of its weights.
        faces: The images; their size must be the teacher's input size.
        folder: Where caches lie; the same for all processes.
        bad: The policy over images that do not decode; a skipped image's row stays zero, and
            training never asks for it.
        augment: What training does to the images, with a number of looks; None: mirroring.
        workers: Loader processes.
        together: The processes; None: only this one.

    Raises:
        FacekdError: An image does not decode, an embedding is not finite, or the disk is full.
    """
    augment, together = augment or Augment(), together or Alone()
    looks = augment.looks
    if looks is None:
        raise FacekdError("a cache holds a number of looks per image, and here each is drawn anew.")
    parts = ["cache 1", teacher_fingerprint, repr(teacher.preprocess), faces.fingerprint]
    parts += [augment.fingerprint] if augment.fingerprint else []
    path = folder / f"{fingerprint(parts)}.npy"
    shape = (len(faces), looks, teacher.embedding_dim)
    ends = [len(faces) * rank // together.world for rank in range(together.world + 1)]
    share = range(ends[together.rank], ends[together.rank + 1])
    growing = GrowingArray(path, shape, np.float16, share)
    first = together.rank == 0
    with alone(path) if first else nullcontext():
        if first and not path.exists():
            print(f"teacher embeddings: {in_bytes(growing.nbytes)} in {folder}", flush=True)
            growing.create()
        together.barrier()
        if not path.exists():  # it gets its name after the next barrier
            rows = range(growing.first_row(), share.stop)
            bar: tqdm[Any] = tqdm(
                total=len(share),
                initial=len(share) - len(rows),
                desc="teacher embeddings" + (" (first process)" if together.world > 1 else ""),
                unit="img",
                disable=not first,
            )
            with bar:
                blocks = _blocks(teacher, faces, augment, rows, bad, workers, bar)
                growing.fill(blocks, _SAVE_EVERY)
            together.barrier()
            if first:
                growing.finish()
            together.barrier()
    return EmbeddingCache(map_array(path, shape, np.float16))


def _blocks(
    teacher: Embedder,
    faces: FaceSet,
    augment: Augment,
    rows: range,
    bad: BadRecords,
    workers: int | None,
    bar: "tqdm[Any]",
) -> Iterator[tuple[int, NDArray[np.float16]]]:
    """(first row, float16 (b, looks, d)) of these rows; a skipped image's row is zero."""
    starts = rows[::_BATCH]
    drawings = range(augment.drawings)
    batches = [
        [(i, 2 * drawing) for i in range(s, min(s + _BATCH, rows.stop))]
        for s in starts
        for drawing in drawings
    ]
    loader = iter(make_loader(faces, batches, augment, workers=workers))
    for start in starts:
        count = min(_BATCH, rows.stop - start)
        block = np.zeros((count, 2 * len(drawings), teacher.embedding_dim), np.float16)
        for drawing in drawings:
            batch = next(loader)
            bad.check(batch)
            for mirrored, images in enumerate((batch.images, batch.images.flip(3))):
                at = batch.position.numpy() - start
                block[at, 2 * drawing + mirrored] = _embed(teacher, images)
        yield start, block
        bar.update(count)


def _embed(teacher: Embedder, images: Tensor) -> NDArray[np.float32]:
    embeddings = np.asarray(teacher.embed(images))  # a tensor stays channels-last, which is faster
    if not np.isfinite(embeddings).all() or np.abs(embeddings).max(initial=0) > 6e4:
        raise FacekdError(
            "the teacher gives embeddings that are not finite or do not fit float16; check its "
            "input_range and channels, or train with cache.mode=never."
        )
    return embeddings
