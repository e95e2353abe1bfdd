"""Metrics of the auxiliary tasks, with numbers worked by hand."""

import numpy as np
import tensorflow as tf

from object_detection_mtl.mtl import auxiliary_metrics


def test_window_average_precision():
    logits = tf.constant([[[0.0, 3.0, 2.0, 1.0], [9.0, 0.0, 0.0, 0.0], [5.0, 1.0, 2.0, 3.0]]])
    # Ranks of the classes: 1 and 3; all wrong but the last; padding.
    labels = tf.constant([[[0.0, 0.7, 0.0, 0.3], [0.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 0.0]]])
    exists = tf.constant([[True, True, False]])
    total, count = auxiliary_metrics.window_average_precision(logits, labels, exists).numpy()
    np.testing.assert_allclose(total, (1 / 1 + 2 / 3) / 2 + 1 / 4, rtol=1e-6)
    assert count == 2


def test_window_divergence():
    labels = tf.constant([[[0.5, 0.5, 0.0], [0.2, 0.3, 0.5], [0.0, 1.0, 0.0]]])
    logits = tf.constant([[[0.0, 0.0, 0.0], np.log([0.2, 0.3, 0.5]), [0.0, 0.0, 9.0]]], tf.float32)
    exists = tf.constant([[True, True, False]])
    total, count = auxiliary_metrics.window_divergence(logits, labels, exists).numpy()
    np.testing.assert_allclose(total, np.log(0.5 / (1 / 3)), rtol=1e-5)
    assert count == 2


def test_closeness_accuracy_counts_objects_with_a_neighbour_of_another_class():
    logits = tf.constant([[[0.0, 2.0], [0.0, 2.0], [5.0, 0.0], [0.0, 1.0]]])
    labels = tf.constant([[[0.1, 0.9], [0.6, 0.4], [0.0, 0.0], [0.0, 1.0]]])
    exists = tf.constant([[True, True, True, False]])
    total, count = auxiliary_metrics.closeness_accuracy(logits, labels, exists).numpy()
    assert (total, count) == (1, 2)


def test_mask():
    logits = tf.constant([[[[0.0, 1.0], [0.0, 1.0]], [[1.0, 0.0], [1.0, 0.0]]]])
    mask = tf.constant([[[1.0, 0.0], [1.0, 0.0]]])
    np.testing.assert_array_equal(auxiliary_metrics.mask_accuracy(logits, mask), [2, 4])
    np.testing.assert_array_equal(auxiliary_metrics.mask_iou(logits, mask), [1, 3])


def test_nothing_counts_nothing():
    none = tf.zeros([1, 0, 3])
    exists = tf.zeros([1, 0], tf.bool)
    for metric in (
        auxiliary_metrics.window_average_precision,
        auxiliary_metrics.window_divergence,
        auxiliary_metrics.closeness_accuracy,
    ):
        np.testing.assert_array_equal(metric(none, none, exists), [0, 0])
