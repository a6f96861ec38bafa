"""A function over many numbers in several threads, the results in order, memory bounded."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_CHUNK = 64
_AHEAD = 4  # chunks a thread


def in_order(function: Callable[[int], T], numbers: range, workers: int) -> Iterator[T]:
    """`map(function, numbers)` in threads: for work that releases the GIL, such as decoding.

    Args:
        function: Called with each number, in any thread.
        numbers: Which.
        workers: Threads; 1 calls the function in this one.

    Yields:
        The results in the order of the numbers; only a few hundred are held at a time.
    """
    if workers <= 1:
        yield from map(function, numbers)
        return

    def work(part: range) -> list[T]:
        return [function(i) for i in part]

    parts = (numbers[at : at + _CHUNK] for at in range(0, len(numbers), _CHUNK))
    waiting: deque[Future[list[T]]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for part in parts:
            waiting.append(pool.submit(work, part))
            if len(waiting) >= _AHEAD * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
