"""A teacher's embeddings of every training image and its mirror image, computed once.

Mirroring is the only augmentation, so two views an image are all that training ever asks for.
They lie in one memory-mapped `.npy` file, float16 (n, 2, d), named by the fingerprint of teacher,
images and preprocessing: another teacher or another selection never reads a stale file.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.lib.format import open_memmap
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from facekd.data.faces import FaceSet
from facekd.data.loader import BadRecords, make_loader
from facekd.embedder import Embedder
from facekd.errors import FacekdError
from facekd.files import write_text
from facekd.fingerprint import fingerprint

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
    with _alone(path.with_suffix(".lock")):
        if not path.exists():
            _compute(teacher, faces, path, shape, bad, workers)
    return EmbeddingCache(_map(path, shape, "r"))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Only one process of the machine at a time computes a cache; the others wait and read it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("w")
    except OSError as error:
        raise FacekdError(f"cannot write to the cache folder {path.parent}: {error}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"another process is computing the teacher's embeddings in {path.parent}; waiting"
            )
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _compute(
    teacher: Embedder,
    faces: FaceSet,
    path: Path,
    shape: tuple[int, int, int],
    bad: BadRecords,
    workers: int | None,
) -> None:
    part, progress = path.with_suffix(".part.npy"), path.with_suffix(".part.json")
    done = int(json.loads(progress.read_text())["done"]) if progress.exists() else 0
    array = _map(part, shape, "r+") if done else _create(part, shape)
    order = range(done, len(faces))
    batches = [[(i, False) for i in order[s : s + _BATCH]] for s in range(0, len(order), _BATCH)]
    loader = make_loader(faces, batches, workers=workers)
    with tqdm(total=len(faces), initial=done, desc="teacher embeddings", unit="img") as bar:
        for number, batch in enumerate(loader, 1):
            bad.check(batch)
            for view, images in enumerate((batch.images, batch.images.flip(3))):
                array[batch.position.numpy(), view] = _embed(teacher, images)
            bar.update(len(batch.images) + len(batch.bad))
            if number % _SAVE_EVERY == 0:
                array.flush()
                write_text(progress, json.dumps({"done": done + number * _BATCH}))
    array.flush()
    part.replace(path)
    progress.unlink(missing_ok=True)


def _create(path: Path, shape: tuple[int, int, int]) -> Any:
    """An array of zeros on disk whose room is taken now: a full disk later would kill us."""
    try:
        array = open_memmap(path, mode="w+", dtype=np.float16, shape=shape)
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise FacekdError(
            f"cannot write the teacher's embeddings to {path}: {error.strerror or error}; they "
            f"take {cache_bytes(shape[0], shape[2]):,} bytes: free space or choose a cache_dir."
        ) from error
    return array


def _map(path: Path, shape: tuple[int, int, int], mode: Literal["r", "r+"]) -> Any:
    """An array on disk that should have this shape."""
    try:
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
        found = f"{array.dtype} {array.shape}"
    except (OSError, ValueError, EOFError) as error:
        found = str(error)
    if found != f"float16 {shape}":
        progress = path.with_suffix(".json")
        beside = f" (and {progress})" if mode == "r+" else ""
        raise FacekdError(
            f"{path} is not the cache it should be (found {found}, expected float16 {shape}); "
            f"delete it{beside}, and it will be computed again."
        )
    return array


def _embed(teacher: Embedder, images: Tensor) -> NDArray[np.float32]:
    embeddings = teacher.embed(images.numpy())
    if not np.isfinite(embeddings).all() or np.abs(embeddings).max(initial=0) > 6e4:
        raise FacekdError(
            "the teacher gives embeddings that are not finite or do not fit float16; check its "
            "input_range and channels, or train with teacher.cache=never."
        )
    return embeddings
