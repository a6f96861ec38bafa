"""Batches of uint8 images, decoded and augmented by loader processes."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from facekd.data.augment import Augment
from facekd.data.batches import View
from facekd.data.faces import FaceSet
from facekd.errors import FacekdError


@dataclass
class Batch:
    """One step's images.

    Attributes:
        images: uint8 RGB (b, 3, size, size), channels last in memory.
        labels: int64 (b,).
        index: int64 (b,), stable record ids.
        position: int64 (b,), positions in the FaceSet.
        look: int64 (b,), how each image is augmented (`facekd.data.augment`).
        bad: What was skipped because it did not decode, one sentence each.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    position: Tensor
    look: Tensor
    bad: list[str] = field(default_factory=list)

    def pin_memory(self) -> "Batch":
        """Move what goes to the device to page-locked memory (called by the DataLoader)."""
        return Batch(
            images=self.images.pin_memory(),
            labels=self.labels.pin_memory(),
            index=self.index.pin_memory(),
            position=self.position,
            look=self.look,
            bad=self.bad,
        )


Decoded = tuple[View, NDArray[np.uint8] | str]


def decoded(view: View, image_at: Callable[[int], NDArray[np.uint8]], augment: Augment) -> Decoded:
    """A view with its image, or with the reason why there is none.

    An error is passed on as data, so that it reaches the main process without the traceback
    that torch wraps around a loader process's exceptions.
    """
    position, look = view
    try:
        image = image_at(position)
    except FacekdError as error:
        return view, str(error)
    return view, augment.apply(image, position, look)


class Views(Dataset[Decoded]):
    """A FaceSet as torch sees it: (position, look) -> image, or the reason why there is none."""

    def __init__(self, faces: FaceSet, augment: Augment) -> None:
        self.faces, self.augment = faces, augment

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, view: View) -> Decoded:
        uncut = self.faces.whole if self.augment.resized_crop else self.faces.__getitem__
        return decoded(view, uncut, self.augment)


class Collate:
    """Views -> Batch; kept as a class so that it pickles into loader processes."""

    def __init__(self, faces: FaceSet) -> None:
        self.labels, self.index, self.size = faces.labels, faces.index, faces.size

    def __call__(self, samples: list[Decoded]) -> Batch:
        """Put the images that decoded into a batch, and the reasons of the others."""
        good = [(view, image) for view, image in samples if not isinstance(image, str)]
        bad = [reason for _, reason in samples if isinstance(reason, str)]
        position = np.array([view[0] for view, _ in good], np.int64)
        pixels = np.empty((len(good), self.size, self.size, 3), np.uint8)
        for row, (_, image) in zip(pixels, good, strict=True):
            row[:] = image
        return Batch(
            images=torch.from_numpy(pixels).permute(0, 3, 1, 2),
            labels=torch.from_numpy(self.labels[position]),
            index=torch.from_numpy(self.index[position]),
            position=torch.from_numpy(position),
            look=torch.tensor([view[1] for view, _ in good], dtype=torch.int64),
            bad=bad,
        )


def default_workers() -> int:
    """Loader processes for this machine: this process's share of the cores, less one for itself.

    The cores are those the process may run on (of a container, a batch system or `taskset`), and
    `torchrun` says how many processes of this machine share them (LOCAL_WORLD_SIZE). On two cores
    or fewer: none.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = (cores or 1) // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    return share - 1 if share > 2 else 0


def make_loader(
    faces: FaceSet,
    batches: Sampler[list[View]] | list[list[View]],
    augment: Augment,
    *,
    workers: int | None = None,
    pin: bool = False,
    stream: bool = False,
) -> DataLoader[Batch]:
    """A DataLoader that gives `Batch`es.

    Args:
        faces: The images.
        batches: Which views each batch holds.
        augment: Turns looks into images.
        workers: Loader processes; None: as many as `default_workers`.
        pin: Page-locked memory, for a CUDA device.
        stream: Read the shards that the images are in from front to back; the batches follow
            `faces.order`.
    """
    if workers is None:
        workers = default_workers()
    if stream:
        from facekd.data.stream import StreamLoader

        return StreamLoader(faces, batches, augment, workers, pin)  # type: ignore[arg-type]
    return DataLoader(
        Views(faces, augment),  # type: ignore[arg-type]  # views, not numbers, are its keys
        batch_sampler=batches,
        collate_fn=Collate(faces),
        num_workers=workers,
        pin_memory=pin,
        generator=torch.Generator(),  # it draws a number to start with: not from the run's own rng
        persistent_workers=workers > 0,
    )


class BadRecords:
    """Keeps the recipe's policy over images that do not decode.

    Args:
        policy: `error` stops at the first; `skip` leaves it out and counts it.
        ceiling: With `skip`, the largest fraction of bad images.
        total: Number of images in the set.
        seen: What an earlier sitting has skipped.

    Attributes:
        seen: The records skipped, one sentence each.
    """

    def __init__(self, policy: str, ceiling: float, total: int, seen: Sequence[str] = ()) -> None:
        self.policy, self.ceiling, self.total = policy, ceiling, total
        self.seen = tuple(seen)

    def check(self, batch: Batch) -> None:
        """Count a batch's bad records.

        Raises:
            FacekdError: The policy does not allow them, or they are too many.
        """
        if not batch.bad:
            return
        if self.policy == "error":
            raise FacekdError(
                f"{batch.bad[0]} Repair the data, or set data.on_bad_record=skip to leave such "
                "images out and count them."
            )
        self.seen += tuple(b for b in batch.bad if b not in self.seen)
        if len(self.seen) > self.ceiling * self.total:
            raise FacekdError(
                f"{len(self.seen)} of {self.total} images do not decode, more than data.max_bad="
                f"{self.ceiling} allows; the last: {batch.bad[-1]}"
            )
