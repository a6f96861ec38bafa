"""What a conversion holds in memory does not grow with the number of images."""

import tracemalloc

import pytest

from facekd.data_tools import columns, record_index
from facekd.data_tools.convert import convert
from facekd.data_tools.items import Item
from facekd.data_tools.writers import write_set

FEW, MANY = 2_000, 8_000
BYTES_AN_IMAGE = 8  # one int64 each that is kept would show


def peak(source, destination, **how):
    """The least of two: Python's table of interned names, of any size, may grow in one of them."""
    most = []
    for _ in range(2):
        tracemalloc.start()
        convert(source, destination, force=True, **how)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    return min(most)


@pytest.fixture(autouse=True, scope="module")
def _small_blocks():
    """What is held of a file at a time, so small that the sets need not be large."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns, "_BLOCK", 256)
        patch.setattr(record_index, "_BLOCK", 4096)
        yield


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """A `.rec` with names, and shards of it, of either size."""
    folder = tmp_path_factory.mktemp("sets")
    for count in (FEW, MANY):
        items = (
            Item(f"{i // 100:06d}", f"{i % 100}.jpg", i // 100, b"\xff\xd8%d\xff\xd9" % i)
            for i in range(count)
        )
        write_set(items, folder / f"{count}.rec")
        convert(folder / f"{count}.rec", folder / f"{count}.tar")
    return folder


@pytest.mark.parametrize(
    ("source", "destination", "how"),
    [
        ("{}.rec", "copy{}.rec", {}),
        ("{}.rec", "shuffled{}.rec", {"shuffle": 3, "layout": "im2rec"}),
        ("{}.rec", "copy{}.tar", {}),
        ("{}.tar", "back{}.rec", {}),
    ],
)
def test_memory_does_not_grow_with_the_set(sets, source, destination, how):
    few, many = (
        peak(sets / source.format(count), sets / destination.format(count), **how)
        for count in (FEW, MANY)
    )
    assert many - few < BYTES_AN_IMAGE * (MANY - FEW)
