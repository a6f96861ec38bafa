"""Photographs aligned one by one, in this process or in several."""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice, repeat, takewhile
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import cv2

from ..errors import FacekdError
from .align import warp_face
from .align_log import Outcome
from .detect import NOTHING, Detections, Detector, best_first, find_faces
from .images import Image, decode_rgb, encode_jpeg, read_encoded
from .landmark_table import faces_of

NO_FACE = "no face found"
_MOST = 128  # photographs a process is handed at once
_AHEAD = 4  # chunks a process has waiting
_GROUP = 8  # photographs a thread does before the next thread has them
_GROUP_BYTES = 1 << 24  # of decoded photographs, at which a group ends before

S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class Photograph:
    """One photograph to align.

    Attributes:
        image: Its path below the source folder, with forward slashes.
        crop: Its crop's path below the target folder, without a suffix.
        given: Its faces, where no detector looks for them.
    """

    image: str
    crop: str
    given: Detections | None = None


@dataclass(frozen=True)
class Settings:
    """How photographs are aligned; picklable.

    Attributes:
        source: The photographs' folder.
        target: The crops' folder.
        open_detector: Makes the detector, once in every process; None where all faces are given.
        every_face: Cut out all faces (`NAME_0.jpg`, `NAME_1.jpg` ..., best first), not the best.
        quality: Of the JPEGs, 0..100.
        stop_on_bad: Stop at a photograph that cannot be read, instead of saying so in its outcome.
    """

    source: Path
    target: Path
    open_detector: Callable[[], Detector] | None
    every_face: bool = False
    quality: int = 95
    stop_on_bad: bool = False


@dataclass(frozen=True)
class _Looked:
    """A photograph on its way: read, then looked at."""

    photograph: Photograph
    image: Image | None = None
    found: Detections = NOTHING
    retried: bool = False
    bad: str = ""


class Aligner:
    """Reads, detects, cuts: while some are looked at, the next are read and the last ones written.

    A few at a time: a detector leaves nothing else in a core's cache, and what comes after it runs
    at half its speed until it is back.

    Args:
        settings: How.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._detector = settings.open_detector() if settings.open_detector is not None else None
        self._target = str(settings.target)
        self._folders: set[str] = set()

    def each(self, photographs: Iterable[Photograph]) -> Iterator[Outcome]:
        """Write the crops of photographs and tell what became of each, in their order."""
        rest = iter(photographs)
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            read = takewhile(len, _ahead(reader, self._read_group, repeat(rest), 1))
            looked = ([self._look(one) for one in group] for group in read)
            for outcomes in _ahead(writer, self._cut_group, looked, 1):
                yield from outcomes

    def _read_group(self, rest: Iterator[Photograph]) -> list[_Looked]:
        """The next photographs; an empty list when there are no more."""
        group: list[_Looked] = []
        size = 0
        for photograph in islice(rest, _GROUP):
            group.append(self._read(photograph))
            size += 0 if group[-1].image is None else group[-1].image.nbytes
            if size >= _GROUP_BYTES:
                break
        return group

    def _cut_group(self, group: list[_Looked]) -> list[Outcome]:
        return [self._cut(looked) for looked in group]

    def _read(self, photograph: Photograph) -> _Looked:
        try:
            encoded = read_encoded(self._settings.source / photograph.image)
            return _Looked(photograph, decode_rgb(encoded))
        except FacekdError as error:
            return _Looked(photograph, bad=str(error))

    def _look(self, read: _Looked) -> _Looked:
        given = read.photograph.given
        if read.image is None:
            return read
        if given is not None:
            return _Looked(read.photograph, read.image, best_first(given, read.image))
        if self._detector is None:
            return read
        return _Looked(read.photograph, read.image, *find_faces(self._detector, read.image))

    def _cut(self, looked: _Looked) -> Outcome:
        """Done when this returns; the log, which is written after it, knows of whole crops only."""
        photograph, every = looked.photograph, self._settings.every_face
        found = looked.found if every else looked.found.take(slice(1))
        ends = [f"_{i}.jpg" for i in range(len(found))] if every else [".jpg"]
        faces = faces_of(found, [photograph.crop + end for end in ends])
        try:
            if looked.image is None:
                raise FacekdError(looked.bad)
            crops = [warp_face(looked.image, points) for points in found.landmarks]
        except FacekdError as error:
            if self._settings.stop_on_bad:
                raise FacekdError(f"{self._settings.source / photograph.image}: {error}") from error
            return Outcome(photograph.image, [], str(error))
        for face, crop in zip(faces, crops, strict=True):
            self._write(face.crop, encode_jpeg(crop, self._settings.quality))
        return Outcome(photograph.image, faces, "" if faces else NO_FACE, looked.retried)

    def _write(self, name: str, encoded: bytes) -> None:
        path = f"{self._target}/{name}"
        try:
            folder = os.path.dirname(path)
            if folder not in self._folders:
                os.makedirs(folder, exist_ok=True)
                self._folders.add(folder)
            with open(path, "wb") as file:
                file.write(encoded)
        except OSError as error:
            raise FacekdError(
                f"cannot write {path}: {error.strerror or error}; free space and run again: it "
                "goes on from there."
            ) from error


def _ahead(
    pool: Executor, function: Callable[[S], T], items: Iterable[S], count: int
) -> Iterator[T]:
    """`map(function, items)` in a pool, a few items ahead of who takes the results."""
    waiting: deque[Future[T]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def align_each(
    settings: Settings, photographs: Sequence[Photograph], workers: int
) -> Iterator[Outcome]:
    """Align photographs; with several workers in processes of their own, each with a detector.

    Yields:
        The outcomes, in the photographs' order.

    Raises:
        FacekdError: The detector cannot be opened, the disk is full, a process died, or (if told
            to stop there) a photograph cannot be read.
    """
    if workers <= 1:
        yield from Aligner(settings).each(photographs)
        return
    chunks = _chunks(photographs, workers)
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (settings,))
    try:
        for outcomes in _ahead(pool, _align_chunk, chunks, _AHEAD * workers):
            yield from outcomes
    except BrokenProcessPool as error:
        raise FacekdError(
            "a process that aligns photographs died (out of memory?); run again with fewer "
            "workers: it goes on from there."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _chunks(photographs: Sequence[Photograph], workers: int) -> Iterator[Sequence[Photograph]]:
    """What processes are handed: few at first, to show progress; few at last, to end together."""
    size, at = _GROUP, 0
    while at < len(photographs):
        for _ in range(workers):
            share = (len(photographs) - at) // (2 * workers) // _GROUP * _GROUP
            end = at + max(_GROUP, min(size, share))
            if at < len(photographs):
                yield photographs[at:end]
            at = end
        size = min(2 * size, _MOST)


_aligner: Aligner | None = None  # of a worker process


def _start(settings: Settings) -> None:
    global _aligner
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends us
    cv2.setNumThreads(0)  # a process a core: threads within would only take each other's turns
    _aligner = Aligner(settings)


def _align_chunk(photographs: Sequence[Photograph]) -> list[Outcome]:
    assert _aligner is not None
    return list(_aligner.each(photographs))
