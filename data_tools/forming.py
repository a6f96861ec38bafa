"""Images to what a set's writer appends, in this process or in several."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

from ..errors import FacekdError
from .in_processes import in_processes
from .items import Item, Items
from .safe_paths import check_relative

Form = Callable[[Item, str, int], Any]
"""What a writer makes of an image, its path in the set and its record number; picklable."""

FEW = 500  # images that are not worth starting processes for
_FIRST, _MOST = 8, 512  # images that a process is handed at once
_BYTES = 1 << 20  # what they should have together


class _Job(NamedTuple):
    """Some images for a process."""

    items: Items
    form: Form
    first: int


class _Done(NamedTuple):
    """What was made of them, and how many bytes the images had."""

    pieces: list[Any]
    size: int


def form_all(
    items: Iterable[Item], form: Form, first: int, workers: int = 1
) -> Generator[Any, None, None]:
    """Read images and form each of them, in their order.

    Args:
        items: The images; only `Items` of some hundreds or more are given to other processes.
        form: What is done with each.
        first: The first number of those counted where items bring no record numbers.
        workers: Processes that read and form; 1: this one does.

    Raises:
        FacekdError: An image cannot be read, is empty, or its name is no safe path; or as
            `in_processes`.
    """
    if workers <= 1 or not isinstance(items, Items) or len(items) < FEW:
        yield from (_form(form, item, number) for number, item in enumerate(items, first))
        return
    size = _FIRST

    def jobs() -> Iterator[_Job]:
        at = 0
        while at < len(items):
            part = slice(at, min(at + size, len(items)))
            yield _Job(items.take(part), form, first + at)
            at = part.stop

    with closing(in_processes(_work, jobs(), workers)) as results:
        for done in results:
            size = min(max(1, len(done.pieces) * _BYTES // done.size), _MOST)
            yield from done.pieces


def _work(job: _Job) -> _Done:
    pieces, size = [], 0
    for number, item in enumerate(job.items, job.first):
        pieces.append(_form(job.form, item, number))
        size += len(item.encoded)
    return _Done(pieces, size)


def _form(form: Form, item: Item, number: int) -> Any:
    place = f"{item.identity}/{item.name}"
    if not len(item.encoded):
        raise FacekdError(f"the image {place} holds no bytes.")
    check_relative(place)
    return form(item, place, number if item.key is None else item.key)
