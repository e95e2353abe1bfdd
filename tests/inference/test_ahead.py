"""Working ahead: in order, at the same time, within bounds."""

import threading
import time

import pytest

from object_detection_mtl.inference import batching


def test_in_order_whatever_takes_longer():
    def work(item):
        time.sleep(0.01 * (item % 3))
        return -item

    results = list(batching.map_in_threads(iter(range(20)), work, 4))
    assert results == [(item, -item) for item in range(20)]
    assert list(batching.map_in_threads(iter([]), work, 4)) == []


def test_several_work_at_once():
    both = threading.Barrier(2, timeout=20)
    results = batching.map_in_threads(iter(range(4)), lambda item: both.wait() >= 0, 2)
    assert [result for _, result in results] == [True] * 4


def test_no_more_than_the_bound_is_asked_for():
    asked = []

    def items():
        for item in range(100):
            asked.append(item)
            yield item

    results = batching.map_in_threads(items(), lambda item: item, 3)
    next(results)
    time.sleep(0.1)
    assert len(asked) <= 3 + 2
    results.close()
    assert len(asked) <= 3 + 2


@pytest.mark.parametrize("place", ["items", "work"])
def test_errors_arrive_at_their_place(place):
    def items():
        yield from range(3)
        if place == "items":
            raise RuntimeError("of the items")
        yield 3

    def work(item):
        if item == 3:
            raise RuntimeError("of the work")
        return item

    results = batching.map_in_threads(items(), work, 2)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(RuntimeError, match=f"of the {place}"):
        next(results)
