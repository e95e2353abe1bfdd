"""Augmentations of classes."""

import pytest
import tensorflow as tf

from object_detection_mtl.data import augmentation_labels
from object_detection_mtl.fields import Groundtruth
from tests.data.augmented import assert_objects_fit, example, in_a_graph

SEED = tf.constant([1, 2])


def classes(result):
    return result[Groundtruth.classes].numpy().tolist()


def test_objects_of_a_class_are_dropped():
    always = augmentation_labels.drop_label_probabilistically(2)(example(), SEED)
    assert classes(always) == [1, 3]
    assert_objects_fit(always)
    never = augmentation_labels.drop_label_probabilistically(2, 0.0)(example(), SEED)
    assert classes(never) == [1, 2, 3]
    half = in_a_graph(augmentation_labels.drop_label_probabilistically(2, 0.5), 40)
    assert 8 < sum(2 in classes(result) for result in half) < 32


def test_classes_are_joined():
    result = augmentation_labels.remap_labels([1, 3], 3)(example(), SEED)
    assert classes(result) == [3, 2, 3]
    assert result[Groundtruth.classes].dtype == tf.int32


def test_wrong_values():
    with pytest.raises(ValueError, match="label is 0, expected the id of a class"):
        augmentation_labels.drop_label_probabilistically(0)
    with pytest.raises(ValueError, match="drop_probability as"):
        augmentation_labels.drop_label_probabilistically(1, 1.5)
    with pytest.raises(ValueError, match="new_label is 0"):
        augmentation_labels.remap_labels([1], 0)
