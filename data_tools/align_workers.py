"""Photographs aligned one by one, in this process or in several."""

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from itertools import islice
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
_CHUNK = 32  # photographs a process is handed at once
_AHEAD = 4  # photographs in memory between two threads; chunks a process

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
    """Reads, detects, cuts: while one is looked at, the next is read and the last one written.

    Args:
        settings: How.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._detector = settings.open_detector() if settings.open_detector is not None else None
        self._folders: set[Path] = set()

    def each(self, photographs: Iterable[Photograph]) -> Iterator[Outcome]:
        """Write the crops of photographs and tell what became of each, in their order."""
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            read = _ahead(reader, self._read, photographs)
            yield from _ahead(writer, self._cut, map(self._look, read))

    def _read(self, photograph: Photograph) -> _Looked:
        try:
            path = self._settings.source / photograph.image
            return _Looked(photograph, decode_rgb(read_encoded(path)))
        except FacekdError as error:
            return _Looked(photograph, bad=str(error))

    def _look(self, read: _Looked) -> _Looked:
        given = read.photograph.given
        if read.image is None:
            return read
        if given is not None:
            return replace(read, found=best_first(given, read.image))
        if self._detector is None:
            return read
        found, retried = find_faces(self._detector, read.image)
        return replace(read, found=found, retried=retried)

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
        path = self._settings.target / name
        try:
            if path.parent not in self._folders:
                path.parent.mkdir(parents=True, exist_ok=True)
                self._folders.add(path.parent)
            path.write_bytes(encoded)
        except OSError as error:
            raise FacekdError(
                f"cannot write {path}: {error.strerror or error}; free space and run again: it "
                "goes on from there."
            ) from error


def _ahead(
    pool: Executor, function: Callable[[S], T], items: Iterable[S], count: int = _AHEAD
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
    settings: Settings, photographs: Iterable[Photograph], workers: int
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
    rest = iter(photographs)
    chunks = iter(lambda: list(islice(rest, _CHUNK)), [])
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


_aligner: Aligner | None = None  # of a worker process


def _start(settings: Settings) -> None:
    global _aligner
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends us
    cv2.setNumThreads(0)  # a process a core: threads within would only take each other's turns
    _aligner = Aligner(settings)


def _align_chunk(photographs: list[Photograph]) -> list[Outcome]:
    assert _aligner is not None
    return list(_aligner.each(photographs))
