"""Images to embeddings: decoded in worker processes, embedded a batch at a time, kept in a file."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from .. import __version__
from ..data.image_batches import image_batches
from ..data_tools.pairs import Images, PairSet
from ..errors import FacekdError
from ..files import write_text
from ..fingerprint import fingerprint
from ..growing_array import GrowingArray, alone, map_array
from .embeddings import Embeddings, describe
from .pair_scores import cosine_scores
from .together import Alone, Together

if TYPE_CHECKING:
    from ..embedder import Embedder

Precision = Literal["fp32", "bf16"]
Block = tuple[int, NDArray[np.float32]]

_SAVE_EVERY = 40  # batches


def embed_images(
    images: Images,
    model: "Embedder",
    *,
    flip: bool = True,
    halves: bool = False,
    batch_size: int = 64,
    workers: int | None = None,
    precision: Precision = "fp32",
    found: NDArray[np.bool_] | None = None,
    progress: str = "",
) -> NDArray[np.float32]:
    """Embed images in their order; only a few batches of them are ever decoded at once.

    An image that has not the model's input size is resized to it (`image_sizes` says so in words).

    Args:
        images: n lazily decoded uint8 RGB images; with workers, they must pickle.
        model: The network.
        flip: Add the mirrored image's embedding.
        halves: With `flip`, give both embeddings side by side instead of their sum.
        batch_size: Images at a time.
        workers: Processes that decode; 0: this one does; None: none for a small set or on one
            core, else one a core, at most 8.
        precision: bf16 runs a PyTorch network under autocast; what it gives is float32 anyway.
        found: bool (n,), False where no face could be found: such an image is not asked for, and
            its row is zero; None: all were.
        progress: Title of a progress bar on stderr, shown on a terminal only; none when empty.

    Returns:
        float32 (n, d), or (n, 2d) with `halves` and `flip`; not L2-normalised.

    Raises:
        FacekdError: An image does not decode, an embedding is not finite, a worker process died,
            or the network cannot run in bf16.
    """
    stage = _Stage(images, model, flip, halves, batch_size, workers, precision, found)
    out = np.empty((len(images), stage.width), dtype=np.float32)
    with stage.blocks(range(len(images)), progress=progress) as blocks:
        for start, block in blocks:
            out[start : start + len(block)] = block
    return out


def embed_to_file(
    images: Images,
    model: "Embedder",
    folder: str | Path,
    *,
    name: str,
    model_fingerprint: str,
    images_fingerprint: str,
    flip: bool = True,
    batch_size: int = 64,
    workers: int | None = None,
    precision: Precision = "fp32",
    found: NDArray[np.bool_] | None = None,
    together: Together | None = None,
    progress: str = "",
) -> Embeddings:
    """Embed images into `folder/NAME-FINGERPRINT.npy`, or map that file where it is whole.

    The fingerprint is one of network, images, preprocessing, flip and precision, so that no other
    run's file is read. An interrupted run goes on from the last saved block; the room on the disk
    is taken first. Several processes (`torchrun`) fill a share of the rows each, in a folder that
    all of them see, with the batches of one process: the file is the same.

    Args:
        images: n lazily decoded uint8 RGB images; with workers, they must pickle.
        model: The network.
        folder: Where such files lie.
        name: What the file is called: model and bench.
        model_fingerprint: Hash of the network's file.
        images_fingerprint: Hash of the images.
        flip: Embed the mirrored image too: a row is original | mirrored.
        batch_size: Images at a time.
        workers: As in `embed_images`.
        precision: As in `embed_images`.
        found: As in `embed_images`.
        together: The processes; None: only this one.
        progress: As in `embed_images`; only the first process shows it, over its own share.

    Returns:
        float32 (n, d), or (n, 2d) halves with `flip`, mapped; on every process.

    Raises:
        FacekdError: As `embed_images`; or a fingerprint is empty, the disk is full, or the file
            is damaged.
    """
    if not (model_fingerprint and images_fingerprint):
        raise FacekdError(
            f"embeddings of {name} cannot be kept: network or images have no fingerprint by which "
            "their file would be known again; embed without saving."
        )
    together = together or Alone()
    stage = _Stage(images, model, flip, True, batch_size, workers, precision, found)
    facts: dict[str, Any] = {
        "model": model.name,
        "model_fingerprint": model_fingerprint,
        "images_fingerprint": images_fingerprint,
        "preprocess": repr(model.preprocess),
        "halves": flip,
        "precision": precision,
    }
    known_by = [f"{key}={value}" for key, value in facts.items() if key != "model"]
    flags = b"" if found is None else found.tobytes()
    stem = re.sub(r"[^\w.+-]+", "_", name)
    path = Path(folder) / f"{stem}-{fingerprint(['embeddings 1', *known_by, flags])}.npy"
    shape, share = (len(images), stage.width), stage.share(together.rank, together.world)
    growing = GrowingArray(path, shape, np.float32, share)
    with alone(path) if together.rank == 0 else nullcontext():
        if together.rank == 0:
            _announce(growing)
        together.barrier()
        if not path.exists():  # it gets its name after the next barrier
            title = progress if together.rank == 0 else ""
            with stage.blocks(share, growing.first_row(), title) as blocks:
                growing.fill(blocks, _SAVE_EVERY)
            together.barrier()
            if together.rank == 0:
                description = describe(shape, **facts, facekd_version=__version__)
                write_text(path.with_suffix(".json"), description)
                growing.finish()
            together.barrier()
    array = map_array(path, shape, np.float32)
    return Embeddings(array, flip, str(path), None if found is None else ~found, facts)


def score_pairs(
    pairs: PairSet,
    model: "Embedder",
    *,
    flip: bool = True,
    batch_size: int = 64,
    workers: int | None = 0,
    progress: str = "",
) -> NDArray[Any]:
    """The cosine of every pair, float (m,), by this process alone unless workers are asked for.

    A pair with a face that was not found scores -1. Arguments and errors as `embed_images`.
    """
    embeddings = embed_images(
        pairs.images,
        model,
        flip=flip,
        batch_size=batch_size,
        workers=workers,
        found=pairs.found,
        progress=progress,
    )
    missing = None if pairs.found is None else ~pairs.found
    return cosine_scores(embeddings, pairs.left, pairs.right, missing=missing)


def image_sizes(images: Images, model: "Embedder", first: int = 0) -> str:
    """What size one image had and was given, in words: "112x112" or "112x112 -> 64x64"."""
    height, width = images[first].shape[:2]
    size = model.preprocess.input_size
    if (height, width) == (size, size):
        return f"{width}x{height}"
    return f"{width}x{height} -> {size}x{size}"


class _Stage:
    """From images to blocks of embeddings; the arguments are those of `embed_images`."""

    def __init__(
        self,
        images: Images,
        model: "Embedder",
        flip: bool,
        halves: bool,
        batch_size: int,
        workers: int | None,
        precision: Precision,
        found: NDArray[np.bool_] | None,
    ) -> None:
        if precision == "bf16" and not isinstance(model, nn.Module):
            raise FacekdError(
                f"{model.name}: bf16 is for PyTorch networks, and an ONNX network runs in the "
                "precision it was exported in; evaluate it without bf16."
            )
        if found is not None and len(found) != len(images):
            raise FacekdError(f"{len(found)} found flags for {len(images)} images.")
        self.images, self.model, self.found = images, model, found
        self.flip, self.both, self.bf16 = flip, flip and halves, precision == "bf16"
        self.batch_size, self.workers = batch_size, workers
        self.device = (
            next(model.parameters()).device.type if isinstance(model, nn.Module) else "cpu"
        )
        self.width = model.embedding_dim * (2 if self.both else 1)

    def share(self, rank: int, world: int) -> range:
        """The rows of one of several processes: whole batches, as equally many as can be."""
        total = len(self.images)
        batches = -(-total // self.batch_size)
        start, stop = (batches * r // world * self.batch_size for r in (rank, rank + 1))
        return range(min(start, total), min(stop, total))

    @contextmanager
    def blocks(self, rows: range, first: int = 0, progress: str = "") -> Iterator[Iterator[Block]]:
        """(first row, float32 (b, width)), in order, from row `first` to the end of `rows`."""
        left = range(first, rows.stop)
        batches = image_batches(
            self.images,
            self.model.preprocess.input_size,
            left,
            batch_size=self.batch_size,
            workers=self.workers,
            found=self.found,
            pin=self.device == "cuda",
        )
        bar = tqdm(
            total=len(rows),
            initial=first - rows.start,
            desc=progress,
            unit="img",
            disable=None if progress else True,
        )
        with batches as pixels, bar:
            yield self._blocks(left, pixels, bar)

    def _blocks(
        self, rows: range, batches: Iterator[NDArray[np.uint8]], bar: "tqdm[NoReturn]"
    ) -> Iterator[Block]:
        for start, pixels in zip(rows[:: self.batch_size], batches, strict=True):
            stop = min(start + self.batch_size, rows.stop)
            block = np.zeros((stop - start, self.width), dtype=np.float32)
            if len(pixels):
                there = slice(None) if self.found is None else self.found[start:stop]
                block[there] = self._embed(pixels)
            bad = np.flatnonzero(~np.isfinite(block).all(axis=1))
            if len(bad):
                raise FacekdError(
                    f"{self.model.name}: the embedding of image {start + bad[0]} is not finite; "
                    "the weights are broken or the input range is wrong."
                )
            yield start, block
            bar.update(stop - start)

    def _embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.autocast(self.device, torch.bfloat16, enabled=self.bf16):
            if not self.both:
                return self.model.embed(pixels, flip=self.flip)
            mirrored = np.ascontiguousarray(pixels[:, :, ::-1])
            views = [self.model.embed(pixels), self.model.embed(mirrored)]
            return np.concatenate(views, axis=1)


def _announce(growing: GrowingArray) -> None:
    """Say what will be done, and take the room for it."""
    size = f"{growing.nbytes / 1e6:,.1f} MB"
    if growing.path.exists():
        print(f"{growing.path} ({size}) holds these embeddings: nothing is embedded again")
        return
    growing.create()
    done = growing.first_row() - growing.share.start
    goes_on = f", going on after {done:,}" if done else ""
    print(f"embedding {growing.shape[0]:,} images into {growing.path} ({size}){goes_on}")
