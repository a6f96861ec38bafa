"""Plain batches of images in their order, decoded in worker processes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from facekd.data_tools.images import resize
from facekd.data_tools.pairs import Images
from facekd.errors import FacekdError

_SMALL = 2000  # images that are decoded sooner than worker processes have started
_MOST_WORKERS = 8


@contextmanager
def image_batches(
    images: Images,
    size: int,
    rows: range,
    *,
    batch_size: int,
    workers: int | None = None,
    found: NDArray[np.bool_] | None = None,
    pin: bool = False,
) -> Iterator[Iterator[NDArray[np.uint8]]]:
    """Decode images and resize those of another size, a batch of rows after the other.

    The workers live as long as the `with` block; that one of them died is told at its end, for
    torch raises it wherever in the block the code happens to be.

    Args:
        images: Lazily decoded uint8 RGB images; with workers, they must pickle.
        size: Side of the batches' images, pixels.
        rows: Which of the images, in this order.
        batch_size: Rows a batch; the last may be smaller.
        workers: Processes that decode; 0: this one does; None: none for a small set or on one
            core, else one a core, at most 8.
        found: bool, for every image whether it is there; the others are left out of their batch.
        pin: Page-locked memory, for a CUDA device.

    Yields:
        An iterator over uint8 (b, size, size, 3), b <= batch_size.

    Raises:
        FacekdError: An image does not decode, or a worker process died.
    """
    decoded = _Decoded(images, size, found)
    loader = DataLoader(
        decoded,
        batch_size=batch_size,
        sampler=rows,
        collate_fn=decoded.batch,
        num_workers=_default_workers(len(rows)) if workers is None else workers,
        pin_memory=pin,
        generator=torch.Generator(),  # it draws a number to start with: not from a run's own rng
        worker_init_fn=_no_threads,
    )
    batches = iter(loader)
    processes = batches._workers if isinstance(batches, _MultiProcessingDataLoaderIter) else []
    try:
        try:
            yield _pixels(batches)
        finally:
            if isinstance(batches, _MultiProcessingDataLoaderIter):
                batches._shutdown_workers()  # not when it is collected: a death is told until then
    except (RuntimeError, EOFError, OSError) as error:  # whichever comes first when one dies
        if not any(process.exitcode for process in processes):
            raise
        raise FacekdError(
            "a process that decodes images died: it was killed, or memory ran out; use fewer "
            "workers or a smaller batch."
        ) from error


def _pixels(batches: Iterator[Tensor | str]) -> Iterator[NDArray[np.uint8]]:
    for batch in batches:
        if isinstance(batch, str):
            raise FacekdError(batch)
        yield batch.numpy()


class _Decoded(Dataset[NDArray[np.uint8] | str | None]):
    """Images of one size as torch's loader sees them; None where there is none.

    An error is passed on as data, so that it reaches the main process without the traceback
    that torch wraps around a loader process's exceptions.
    """

    def __init__(self, images: Images, size: int, found: NDArray[np.bool_] | None) -> None:
        self.images, self.size, self.found = images, size, found

    def __getitem__(self, row: int) -> NDArray[np.uint8] | str | None:
        if self.found is not None and not self.found[row]:
            return None
        try:
            return resize(self.images[row], self.size)
        except FacekdError as error:
            return str(error)

    def batch(self, images: list[NDArray[np.uint8] | str | None]) -> Tensor | str:
        """uint8 (b, size, size, 3) of those that are there, or the first error."""
        pixels = np.empty((len(images), self.size, self.size, 3), np.uint8)
        count = 0
        for image in images:
            if isinstance(image, str):
                return image
            if image is not None:
                pixels[count] = image
                count += 1
        return torch.from_numpy(pixels[:count])


def _default_workers(images: int) -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # torchrun's processes share the cores
    share = (cores or 1) // here
    return 0 if share <= 1 or images < _SMALL else min(share, _MOST_WORKERS)


def _no_threads(worker: int) -> None:
    """No OpenCV threads in a worker: the pool did not survive the fork (with 1, it hangs)."""
    cv2.setNumThreads(0)
