"""Work in several processes, its results in order, memory bounded."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from ..errors import FacekdError

J = TypeVar("J")
R = TypeVar("R")

_AHEAD = 3  # jobs a process
_given: list[Callable[[Any], Any]] = []  # a worker's work


def in_processes(
    work: Callable[[J], R], jobs: Iterable[J], workers: int
) -> Generator[R, None, None]:
    """`map(work, jobs)` in processes of their own; close it before what they work on goes away.

    Args:
        work: Picklable; each process is sent it once, with all that it holds.
        jobs: Picklable; taken as they are needed.
        workers: Processes. They end with this one, also when it is killed; Ctrl-C is for this one.

    Yields:
        The results in the order of the jobs; a few for each process are held at a time.

    Raises:
        FacekdError: A process died; or whatever `work` raises.
    """
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start, (work,))
    waiting: deque[Future[R]] = deque()
    try:
        for job in jobs:
            waiting.append(pool.submit(_work, job))
            if len(waiting) >= _AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise FacekdError(
            f"one of {workers} worker processes died (killed, or out of memory?); run again, with "
            "fewer workers if memory is short."
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _start(work: Callable[[Any], Any]) -> None:
    """What a process begins with; Ctrl-C is for the one that gives out the work."""
    _given.append(work)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _work(job: Any) -> Any:
    return _given[0](job)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
