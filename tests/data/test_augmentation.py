"""Augmentations: hand-computed results, eagerly and inside Dataset.map."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.data import augmentation
from object_detection_mtl.fields import Groundtruth
from tests.data.augmented import in_pipeline


def example(height=2, width=3, boxes=((0.0, 0.1, 0.5, 0.4),)):
    pixels = np.arange(height * width * 3, dtype=np.uint8).reshape(height, width, 3)
    return {
        "image": tf.constant(pixels),
        Groundtruth.boxes: tf.reshape(tf.constant(boxes, tf.float32), [-1, 4]),
        Groundtruth.classes: tf.ones([len(boxes)], tf.int32),
        "other": tf.constant("stays"),
    }


def seeds(number):
    return [tf.constant([5, index], tf.int32) for index in range(number)]


def test_flip_moves_image_and_boxes():
    before = example()
    after = augmentation.random_horizontal_flip(1.0)(before, tf.constant([1, 2]))
    np.testing.assert_array_equal(after["image"], before["image"].numpy()[:, ::-1])
    np.testing.assert_allclose(after[Groundtruth.boxes], [[0, 0.6, 0.5, 0.9]], atol=1e-6)
    assert after["image"].dtype == tf.uint8
    assert after["other"] == b"stays"
    assert set(after) == set(before)


def test_two_flips_cancel_and_images_without_boxes_are_flipped():
    flip = augmentation.random_horizontal_flip(1.0)
    for before in (example(), example(boxes=())):
        once = flip(before, tf.constant([1, 2]))
        twice = flip(once, tf.constant([1, 2]))
        assert not np.array_equal(once["image"], before["image"])
        for key in before:
            if before[key].dtype == tf.float32:
                np.testing.assert_allclose(twice[key], before[key], atol=1e-6)
            else:
                np.testing.assert_array_equal(twice[key], before[key])


def share_of_flips(probability, number):
    flip = augmentation.random_horizontal_flip(probability)
    dataset = tf.data.Dataset.from_tensor_slices(tf.stack(seeds(number)))
    images = in_pipeline(dataset, lambda seed: flip(example(), seed)["image"])
    return np.mean([(image.numpy() != example()["image"].numpy()).any() for image in images])


def test_probability_is_kept():
    assert share_of_flips(0.0, 30) == 0.0
    assert share_of_flips(1.0, 30) == 1.0
    assert 0.17 < share_of_flips(0.25, 300) < 0.33
    with pytest.raises(ValueError, match="probability is 1.5, expected 0 to 1"):
        augmentation.random_horizontal_flip(1.5)


def test_the_same_seed_gives_the_same_eagerly_and_in_a_graph():
    flips = [augmentation.random_horizontal_flip(), augmentation.random_horizontal_flip(0.3)]
    dataset = tf.data.Dataset.from_tensor_slices(tf.stack(seeds(12)))
    in_graph = in_pipeline(dataset, lambda seed: augmentation.apply_all(example(), flips, seed))
    outcomes = set()
    for seed, result in zip(seeds(12), in_graph, strict=True):
        eager = augmentation.apply_all(example(), flips, seed)
        for key in eager:
            np.testing.assert_array_equal(eager[key], result[key])
        outcomes.add(result["image"].numpy().tobytes())
    assert len(outcomes) == 2


def test_each_augmentation_draws_from_a_seed_of_its_own():
    drawn = []

    def record(item, seed):
        drawn.append(tuple(seed.numpy()))
        return item

    augmentation.apply_all(example(), [record] * 3, tf.constant([1, 2]))
    assert len(set(drawn)) == 3
    assert augmentation.apply_all(example(), (), tf.constant([1, 2])).keys() == example().keys()
