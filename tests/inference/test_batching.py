"""Prefetching in threads; batches of images of one size."""

import threading
import time

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data.image_files import ImageError
from object_detection_mtl.export.runtimes.runtime_models import ModelCallError
from object_detection_mtl.inference import batching
from object_detection_mtl.inference.predictor import ImageDetections, PreparedImage, StagedPredictor


class Recording:
    """A predictor that records its batches; the class of its detection is the image's value."""

    def __init__(self, refuse=(), num_streams=1):
        self.batches = []
        self.refuse = refuse
        self.predictor = StagedPredictor(PreparedImage, self.detect, num_streams=num_streams)

    def detect(self, values):
        self.batches.append(list(values))
        for value in values:
            if value in self.refuse:
                raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return [
            ImageDetections(np.zeros((1, 4)), np.ones(1), np.array([value])) for value in values
        ]


def run(recording, groups, batch_size, **more):
    """Detect on images of some groups; None is an unreadable image."""
    ready = (
        (
            number,
            ImageError("bad") if group is None else PreparedImage(number, group),
            10,
        )
        for number, group in enumerate(groups)
    )
    tickets = []
    for ticket, found in batching.detect_in_batches(recording.predictor, ready, batch_size, **more):
        tickets.append(ticket)
        if isinstance(found, ImageDetections):
            assert found.classes == [ticket]
        else:
            assert groups[ticket] is None or ticket in recording.refuse
    assert tickets == list(range(len(groups)))
    return recording.batches


def test_images_of_one_size_share_a_batch():
    assert run(Recording(), "aabab", 2) == [[0, 1], [2, 4], [3]]
    assert run(Recording(), "aabab", 1) == [[0], [1], [2], [3], [4]]
    assert run(Recording(), "abc", 8) == [[0], [1], [2]]
    assert run(Recording(), "", 8) == []


def test_unreadable_images_keep_their_position():
    assert run(Recording(), ["a", None, "a", None], 2) == [[0, 2]]


def test_a_rare_size_waits_for_a_bounded_number_of_images():
    waiting = 2 * batching.WAITING_BATCHES
    done = run(Recording(), "b" + "a" * 100, 2)
    assert done.index([0]) == waiting // 2
    assert all(len(batch) == 2 for batch in done[: waiting // 2])


def test_waiting_images_hold_a_bounded_number_of_bytes():
    assert run(Recording(), "abcdabcd", 2, max_bytes=35)[:2] == [[0], [1]]
    assert run(Recording(), "aaaa", 4, max_bytes=5) == [[0], [1], [2], [3]]


def test_results_are_yielded_as_early_as_possible():
    seen = []

    def ready():
        for number, group in enumerate("aaba"):
            seen.append(number)
            yield number, PreparedImage(number, group), 1

    results = batching.detect_in_batches(Recording().predictor, ready(), 2)
    assert next(results)[0] == 0
    assert seen == [0, 1]


def test_a_batch_too_large_for_the_memory_is_split():
    recording = Recording(refuse={1})
    assert run(recording, "aaa", 3) == [[0, 1, 2], [0], [1], [2]]
    [(_, error)] = batching.detect_in_batches(
        Recording(refuse={0}).predictor, iter([(0, PreparedImage(0), 1)]), 1
    )
    assert isinstance(error, ImageError)
    assert "not enough memory" in str(error)


def test_an_image_that_a_runtime_rejects_is_named_alone():
    def detect(values):
        if 1 in values:
            raise ModelCallError("onnxruntime cannot compute it: Got: 50 Expected: 32")
        return [ImageDetections(np.zeros((0, 4)), np.zeros(0), np.zeros(0)) for _ in values]

    images = ((number, PreparedImage(number), 1) for number in range(3))
    results = batching.detect_in_batches(StagedPredictor(PreparedImage, detect), images, 3)
    first, second, third = (found for _, found in results)
    assert isinstance(second, ImageError)
    assert "the model rejects it: onnxruntime cannot compute it: Got: 50" in str(second)
    assert len(first.scores) == len(third.scores) == 0


def test_other_errors_of_the_model_are_raised():
    def fail(values):
        raise RuntimeError("a bug")

    images = iter([(0, PreparedImage(0), 1)])
    with pytest.raises(RuntimeError, match="a bug"):
        list(batching.detect_in_batches(StagedPredictor(PreparedImage, fail), images, 1))


@pytest.mark.parametrize("groups", ["aabab", "a" * 50, ["a", None, "b", "a"], ""])
@pytest.mark.parametrize("batch_size", [1, 2])
def test_streams_detect_on_the_same_batches_in_order(groups, batch_size):
    batches = run(Recording(refuse={3}, num_streams=3), groups, batch_size)
    assert sorted(batches) == sorted(run(Recording(refuse={3}), groups, batch_size))


def test_streams_work_at_the_same_time_and_bound_the_images_that_wait():
    both = threading.Barrier(2, timeout=60)
    seen = []

    def detect(values):
        if values[0] < 2:
            both.wait()  # It goes on when both streams are here.
        return [ImageDetections(np.zeros((1, 4)), np.ones(1), np.array(values))]

    def ready():
        for number in range(9):
            seen.append(number)
            yield number, PreparedImage(number), 1

    predictor = StagedPredictor(PreparedImage, detect, num_streams=2)
    results = batching.detect_in_batches(predictor, ready(), 1)
    ticket, found = next(results)
    assert ticket == 0
    assert found.classes == [0]
    assert len(seen) <= batching.WAITING_BATCHES + 1
    assert [ticket for ticket, _ in results] == list(range(1, 9))


def test_an_error_of_a_stream_is_raised_and_ends_all():
    def fail(values):
        raise RuntimeError("a bug")

    images = ((number, PreparedImage(number), 1) for number in range(20))
    predictor = StagedPredictor(PreparedImage, fail, num_streams=2)
    with pytest.raises(RuntimeError, match="a bug"):
        list(batching.detect_in_batches(predictor, images, 1))


def test_results_are_in_the_order_of_the_items():
    def work(item):
        time.sleep(0.01 * (item % 3))
        return -item

    results = list(batching.map_in_threads(iter(range(20)), work, 4))
    assert results == [(item, -item) for item in range(20)]
    assert list(batching.map_in_threads(iter([]), work, 4)) == []


def test_several_threads_work_in_parallel():
    both = threading.Barrier(2, timeout=60)
    results = batching.map_in_threads(iter(range(4)), lambda item: both.wait() >= 0, 2)
    assert [result for _, result in results] == [True] * 4


def test_a_bounded_number_of_items_is_requested():
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
def test_errors_are_raised_at_their_position(place):
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
