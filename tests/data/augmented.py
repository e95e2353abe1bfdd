"""Test image whose pixels encode their positions, and checks of augmentations."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import tensorflow as tf

from object_detection_mtl.data import dataset_options
from object_detection_mtl.fields import Groundtruth

HEIGHT, WIDTH = 100, 120
# In whole pixels of the image, so that corners can be looked up.
BOXES = np.float32([[10, 20, 40, 50], [30, 60, 90, 110], [0, 0, 20, 12]]) / [100, 120, 100, 120]


def example(boxes=BOXES):
    """Red is the row, green the column, blue 200."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    image = np.stack([rows, columns, np.full_like(rows, 200)], axis=-1).astype(np.uint8)
    number = len(boxes)
    return {
        "image": tf.constant(image),
        Groundtruth.boxes: tf.constant(np.reshape(boxes, [-1, 4]), tf.float32),
        Groundtruth.classes: tf.range(1, number + 1),
        Groundtruth.weights: tf.range(1, number + 1, dtype=tf.float32) / 10.0,
        Groundtruth.is_crowd: tf.range(number) == 1,
        "other": tf.constant("stays"),
    }


def in_pipeline(dataset, function):
    """The dataset with `function` of its elements, as the input pipeline maps and runs it."""
    mapped = dataset.map(tf.autograph.experimental.do_not_convert(function))
    return mapped.with_options(dataset_options.fixed_parallelism())


@functools.lru_cache(maxsize=32)
def _drawn(augmentation, make):
    """Augmented examples of the seeds so far, and the iterator over those of all others."""
    seeds = tf.data.Dataset.range(1000).map(lambda index: tf.stack([7, tf.cast(index, tf.int32)]))
    return [], iter(in_pipeline(seeds, lambda seed: augmentation(make(), seed)))


def in_a_graph(augmentation, number, make=example):
    """The augmented examples of `number` seeds, drawn inside Dataset.map; traced once for each."""
    drawn, others = _drawn(augmentation, make)
    drawn.extend(itertools.islice(others, max(number - len(drawn), 0)))
    return [dict(result) for result in drawn[:number]]


def assert_same_eagerly_and_in_a_graph(augmentation, number=4, make=example):
    outcomes = set()
    for index, result in enumerate(in_a_graph(augmentation, number, make)):
        eager = augmentation(make(), tf.constant([7, index]))
        assert eager.keys() == result.keys()
        for key in eager:
            np.testing.assert_array_equal(eager[key], result[key], err_msg=key)
        outcomes.add(
            result["image"].numpy().tobytes() + result[Groundtruth.boxes].numpy().tobytes()
        )
    assert len(outcomes) > 1, "every seed gives the same"


def assert_objects_fit(result):
    """What is known of an object stays together: class 1 has weight 0.1 and so on."""
    classes = result[Groundtruth.classes].numpy()
    np.testing.assert_allclose(result[Groundtruth.weights], classes / 10.0)
    np.testing.assert_array_equal(result[Groundtruth.is_crowd], classes == 2)
    assert len(result[Groundtruth.boxes]) == len(classes)
    assert result["other"] == b"stays"


def top_left_pixels(result):
    """[N, 2] original (row, column) of the pixel in the top left corner of each box."""
    image, boxes = result["image"].numpy(), result[Groundtruth.boxes].numpy()
    corners = np.round(boxes[:, :2] * image.shape[:2]).astype(int)
    return image[corners[:, 0], corners[:, 1], :2].astype(int)
