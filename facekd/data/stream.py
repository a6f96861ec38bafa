"""Training images from tar shards that are read from front to back, by the webdataset library.

The batches are those of `facekd.data.batches` in the order of `facekd.data.shard_order`, whatever
the number of loader processes. Each lane of shards belongs to one of them: it reads on to the
images that a step asks for, keeps those it passes for a later step, and decodes its part of the
step; the parts are put together in the main process. Every training process reads every shard, of
which it decodes its own slices.
"""

import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from facekd.data.augment import Augment
from facekd.data.batches import View
from facekd.data.faces import FaceSet
from facekd.data.loader import Batch, Collate, Decoded, decoded
from facekd.data.shard_order import IntArray, ShardOrder
from facekd.data_tools.images import decode_rgb
from facekd.data_tools.tar_shards import is_image_member
from facekd.errors import FacekdError

_READ = 1 << 20  # bytes at a time


class ShardStream:
    """One shard, read once from front to back.

    Args:
        path: The shard.
        first: The row of its first image.
        sizes: int64 (n,), bytes of its images, as they were when the shards were opened.
        wanted: bool (n,), which of them are ever asked for.
        ahead: How many passed images are kept.

    Attributes:
        at: The row that is read next.
    """

    def __init__(
        self, path: Path, first: int, sizes: IntArray, wanted: NDArray[np.bool_], ahead: int
    ) -> None:
        self.path, self.at = path, first
        self._first, self._sizes, self._wanted, self._ahead = first, sizes, wanted, ahead
        self._kept: dict[int, bytes] = {}
        self._members = self._read()
        self._failure: FacekdError | None = None

    def can_give(self, row: int) -> bool:
        """Whether an image is kept or still to come."""
        return row >= self.at or row in self._kept

    def take(self, row: int) -> bytes:
        """An image's encoded bytes.

        Raises:
            FacekdError: The shard cannot be read, or is no longer what it was.
        """
        if row in self._kept:
            return self._kept.pop(row)
        if self._failure is None:
            try:
                return self._read_on(row)
            except FacekdError as error:
                self._failure = error
        raise self._failure

    def _read_on(self, row: int) -> bytes:
        for data in self._members:
            here, self.at = self.at, self.at + 1
            number = here - self._first
            if number >= len(self._sizes) or len(data) != self._sizes[number]:
                break
            if here == row:
                return data
            if self._wanted[number]:
                self._kept[here] = data
            if len(self._kept) > self._ahead:
                del self._kept[next(iter(self._kept))]
        raise FacekdError(f"{self.path} is no longer what it was when training began; start again.")

    def _read(self) -> Iterator[bytes]:
        from webdataset.tariterators import tar_file_iterator

        try:
            with self.path.open("rb", buffering=_READ) as file:
                for member in tar_file_iterator(file, skip_meta=None, select_files=is_image_member):
                    yield member["data"]
        except OSError as error:
            raise FacekdError(f"cannot read {self.path}: {error.strerror or error}.") from error
        except tarfile.TarError as error:
            raise FacekdError(f"cannot read {self.path}: {error}.") from error


class StreamedViews(Dataset[Decoded]):
    """A FaceSet of tar shards: the views of (a part of) a step -> images, or reasons why not.

    Args:
        faces: The images.
        order: The order in which they are asked for.
        augment: Turns looks into images.
    """

    def __init__(self, faces: FaceSet, order: ShardOrder, augment: Augment) -> None:
        self.faces, self.order, self.augment = faces, order, augment
        members = order.images.members
        self._first = np.searchsorted(members[:, 0], np.arange(len(order.images.shards) + 1))
        self._wanted = np.zeros(len(members), np.bool_)
        self._wanted[order.rows] = True
        self._open: dict[int, list[ShardStream]] = {}

    def __len__(self) -> int:
        return len(self.faces)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}}

    def __getitems__(self, views: Sequence[View]) -> list[Decoded]:
        """The images of these views, in the order of their positions."""
        return [decoded(view, self._image, self.augment) for view in sorted(views)]

    def _image(self, position: int) -> NDArray[np.uint8]:
        row = self.order.rows.item(position)
        data = self._stream(int(self.order.lanes[position]), row).take(row)
        try:
            return self.faces.fit(decode_rgb(data))
        except FacekdError as error:
            raise FacekdError(f"{self.order.images.where(row)}: {error}") from error

    def _stream(self, lane: int, row: int) -> ShardStream:
        """The shard of this image, opened anew where it has been passed, in another epoch."""
        images = self.order.images
        shard = images.members.item(row, 0)
        streams = self._open.setdefault(lane, [])
        for stream in streams:
            if stream.path == images.shards[shard] and stream.can_give(row):
                return stream
        first, end = self._first[shard : shard + 2].tolist()
        sizes, wanted = images.members[first:end, 2], self._wanted[first:end]
        stream = ShardStream(images.shards[shard], first, sizes, wanted, self.order.ahead)
        self._open[lane] = [*streams, stream][-self.order.open :]
        return stream


class _Parts(Sampler[list[View]]):
    """Every step's views in as many parts as there are readers, by the lanes of their shards."""

    def __init__(self, batches: Sampler[list[View]], lanes: IntArray, readers: int) -> None:
        self.batches, self.readers = batches, readers
        self._reader = (lanes % readers).astype(np.int16)

    def __iter__(self) -> Iterator[list[View]]:
        for views in self.batches:
            parts: list[list[View]] = [[] for _ in range(self.readers)]
            for view in views:
                parts[self._reader[view[0]]].append(view)
            yield from parts


class StreamLoader(DataLoader[Batch]):
    """A DataLoader over shards that are read from front to back; see `make_loader`.

    torch hands the n-th part to the loader process n mod their number, and gives the parts back in
    that order: each process sees its own lanes alone, and every so many parts are one step.
    """

    def __init__(
        self,
        faces: FaceSet,
        batches: Sampler[list[View]],
        augment: Augment,
        workers: int,
        pin: bool,
    ) -> None:
        assert faces.order is not None
        self._readers, self._pin = max(1, workers), pin
        super().__init__(
            StreamedViews(faces, faces.order, augment),  # type: ignore[arg-type]
            batch_sampler=_Parts(batches, faces.order.lanes, self._readers),
            collate_fn=Collate(faces),
            num_workers=workers,
            generator=torch.Generator(),
            persistent_workers=workers > 0,
        )

    def __iter__(self) -> Any:
        return self._joined(super().__iter__())

    def _joined(self, parts: Iterator[Batch]) -> Iterator[Batch]:
        while True:
            step = [part for _, part in zip(range(self._readers), parts, strict=False)]
            if not step:
                return
            batch = _join(step) if len(step) > 1 else step[0]
            yield batch.pin_memory() if self._pin else batch


def _join(parts: list[Batch]) -> Batch:
    """The parts of a step as one, in the order of the images' positions."""
    position = torch.cat([part.position for part in parts])
    order = torch.argsort(position)
    place = np.argsort(order.numpy())
    size = parts[0].images.shape[-1]
    pixels = np.empty((len(place), size, size, 3), np.uint8)  # numpy's copy: one thread, no more
    start = 0
    for part in parts:
        end = start + len(part.position)
        pixels[place[start:end]] = part.images.permute(0, 2, 3, 1).numpy()
        start = end
    return Batch(
        images=torch.from_numpy(pixels).permute(0, 3, 1, 2),
        labels=torch.cat([part.labels for part in parts])[order],
        index=torch.cat([part.index for part in parts])[order],
        position=position[order],
        look=torch.cat([part.look for part in parts])[order],
        bad=sorted(reason for part in parts for reason in part.bad),
    )
