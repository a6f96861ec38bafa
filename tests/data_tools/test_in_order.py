import threading
import time

import pytest

from facekd.data_tools.in_order import in_order


@pytest.mark.parametrize("workers", [1, 4])
def test_results_come_in_order_and_not_far_ahead(workers):
    begun = []

    def square(i):
        begun.append(i)
        time.sleep(0.0001 * (i % 7))
        return i * i

    results = in_order(square, range(5, 3000, 2), workers)
    assert next(results) == 25
    assert len(begun) < 2000 // 2 * workers
    assert list(results) == [i * i for i in range(7, 3000, 2)]
    assert list(in_order(square, range(0), workers)) == []


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_ends_it_and_leaves_no_thread(workers):
    before = threading.active_count()

    def fail(i):
        if i == 700:
            raise ValueError(i)
        return i

    results = in_order(fail, range(10_000), workers)
    with pytest.raises(ValueError, match="700"):
        list(results)
    assert threading.active_count() == before
