"""The foreground task alone: losses, metrics and grids by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses, Metrics, Predictions
from object_detection_mtl.mtl import mask_grids
from object_detection_mtl.mtl.foreground_task import ForegroundTask


def predictions_of(logits, true=(32, 32), padded=(32, 32)):
    """Predictions of one image with a map [fh, fw, 2]."""
    return {
        Predictions.edgemask: tf.constant(np.asarray(logits, np.float32)[np.newaxis]),
        Predictions.image_shape: tf.constant([1, *padded, 3]),
        Predictions.true_image_shapes: tf.constant([[*true, 3]]),
    }


def truth_of(mask, weights):
    return {Groundtruth.edgemask: tf.constant([[mask, weights]], tf.float32)}


def test_loss_with_and_without_weights():
    """Two cells, logits of a difference of +-2; the cell that is wrong weighs 3, the other 1."""
    right, wrong = np.log1p(np.exp(-2)), np.log1p(np.exp(2))
    mask = [[1.0, 1.0], [0.0, 0.0]]
    weight = [[1.0, 3.0], [0.0, 0.0]]
    logits = np.zeros([1, 2, 2, 2], np.float32)
    logits[0, 0, 0], logits[0, 0, 1] = [-1, 1], [1, -1]
    truth = {Groundtruth.edgemask: tf.constant([[mask, weight]])}
    predictions = {
        Predictions.edgemask: tf.constant(logits),
        Predictions.image_shape: tf.constant([1, 32, 32, 3]),
        Predictions.true_image_shapes: tf.constant([[32, 32, 3]]),
    }
    for weighted, expected in (
        (True, (right + 3 * wrong) / 4),
        (False, (right + wrong + 2 * np.log(2)) / 4),
    ):
        task = ForegroundTask(in_channels=1, weighted=weighted)
        loss = task.loss(predictions, truth)[Losses.edgemask]
        np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_the_comparison_is_a_map():
    mask = np.array([[[1.0, 0.0]] * 2, [[1.0, 3.0]] * 2], np.float32)
    predictions = {
        Predictions.edgemask: tf.constant(np.log([[[[1.0, 3.0]] * 2] * 2]), tf.float32),
        Predictions.image_shape: tf.constant([1, 32, 32, 3]),
        Predictions.true_image_shapes: tf.constant([[32, 32, 3]]),
    }
    task = ForegroundTask(in_channels=1)
    [maps] = task.compare(predictions, {Groundtruth.edgemask: tf.constant(mask[None])}).values()
    np.testing.assert_array_equal(maps.labels, mask[:1])
    np.testing.assert_allclose(maps.predicted, np.full([1, 2, 2], 0.75), rtol=1e-6)


@pytest.mark.parametrize(
    ("mask", "weights", "expected"),
    [
        # One foreground cell weighs as much as three of background.
        ([[1, 0], [0, 0]], [[1, 1], [1, 1]], [[2, 2 / 3], [2 / 3, 2 / 3]]),
        # Within a side the weights keep their proportions.
        ([[1, 1], [0, 0]], [[1, 3], [1, 1]], [[0.5, 1.5], [1, 1]]),
        ([[1, 1], [1, 1]], [[1, 3], [2, 2]], [[0.5, 1.5], [1, 1]]),
        ([[0, 0], [0, 0]], [[5, 5], [5, 5]], [[1, 1], [1, 1]]),
    ],
    ids=["one cell", "proportions", "foreground alone", "background alone"],
)
def test_equal_balance_gives_each_side_half_of_the_weight(mask, weights, expected):
    found = mask_grids.balanced_weights(
        tf.constant([mask], tf.float32), tf.constant([weights], tf.float32)
    )
    np.testing.assert_allclose(found[0], expected, rtol=1e-6)


def test_equal_balance_counts_each_image_by_itself():
    mask = tf.constant([[[1.0, 0], [0, 0]], [[1, 1], [1, 1]]])
    found = mask_grids.balanced_weights(mask, tf.ones([2, 2, 2]))
    np.testing.assert_allclose(found[0], [[2, 2 / 3], [2 / 3, 2 / 3]], rtol=1e-6)
    np.testing.assert_allclose(found[1], np.ones([2, 2]), rtol=1e-6)


def test_foreground_everywhere_is_nearly_right_for_the_authors_and_half_right_with_equal_balance():
    """Sixteen objects of one cell each: together they weigh 16 times the background's total."""
    mask = np.zeros([16, 16])
    mask[::4, ::4] = 1.0
    weights = np.where(mask > 0, 1.0, 1 / 256)
    truth = truth_of(mask, weights / weights.mean())
    everywhere = predictions_of(np.broadcast_to([-1.0, 1.0], [16, 16, 2]))
    right, wrong = np.log1p(np.exp(-2)), np.log1p(np.exp(2))
    background = 240 / 256
    for balance, share in (("AUTHORS", 16 / (16 + background)), ("EQUAL", 0.5)):
        task = ForegroundTask(in_channels=1, balance=balance)
        loss = task.loss(everywhere, truth)[Losses.edgemask]
        np.testing.assert_allclose(loss, share * right + (1 - share) * wrong, rtol=1e-5)


def test_logits_are_bounded_by_a_tanh_by_default():
    for bounded, expected in ((True, np.tanh([3.0, -6.0])), (False, [3.0, -6.0])):
        task = ForegroundTask(in_channels=1, kernel_size=1, bounded=bounded)
        task.conv.set_weights([np.array([[[[1.0, -2.0]]]]), np.zeros(2)])
        logits = task.predict(SimpleNamespace(features=tf.fill([1, 1, 1, 1], 3.0)))
        np.testing.assert_allclose(logits[Predictions.edgemask][0, 0, 0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("extent", "cells", "size", "expected"),
    [
        (2.0, 2, 4, [[1, 1, 0, 0], [0, 0, 1, 1]]),
        (2.0, 3, 2, [[1, 0], [0, 1], [0, 0]]),  # the third cell is padding
        (1.5, 2, 3, [[1, 1, 0], [0, 0, 1]]),
        (1.25, 2, 1, [[0.8], [0.2]]),  # one cell of the label over one and a quarter
        (1.0, 1, 1, [[1]]),
    ],
)
def test_overlaps_of_cells(extent, cells, size, expected):
    found = mask_grids.overlaps_of_cells(tf.constant([extent]), tf.constant(cells), size)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_a_label_on_the_cells_of_a_map_is_a_weighted_average():
    """Four columns on two cells: the first holds weights 1 and 3, of which 3 is foreground."""
    mask, weights = tf.constant([[[0.0, 1, 0, 0]]]), tf.constant([[[1.0, 3, 2, 2]]])
    rows = mask_grids.overlaps_of_cells(tf.constant([1.0]), tf.constant(1), 1)
    columns = mask_grids.overlaps_of_cells(tf.constant([2.0]), tf.constant(3), 4)
    mean, total = mask_grids.mask_of_map(mask, weights, rows, columns)
    np.testing.assert_allclose(mean, [[[0.75, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(total, [[[4, 4, 0]]], atol=1e-6)


def test_loss_on_the_feature_maps_grid():
    """2x2 cells under 4x4 of the label; the first cell is 3/4 foreground, the others none."""
    mask = np.zeros([4, 4])
    mask[:2, :2] = [[1, 1], [1, 0]]
    logits = np.zeros([2, 2, 2])
    logits[0, 0] = [-1, 1]
    right, wrong, half = np.log1p(np.exp(-2)), np.log1p(np.exp(2)), np.log(2)
    task = ForegroundTask(in_channels=1, weighted=False, loss_grid="FEATURE_MAP")
    loss = task.loss(predictions_of(logits), truth_of(mask, np.ones([4, 4])))
    expected = (3 * right + wrong + 12 * half) / 16
    np.testing.assert_allclose(loss[Losses.edgemask], expected, rtol=1e-5)


def test_padding_does_not_count_on_the_feature_maps_grid():
    """The map has a third row and column, over padding, with logits that are wrong."""
    mask = [[1.0, 0.0], [0.0, 0.0]]
    logits = np.full([3, 3, 2], [-50.0, 50.0])
    logits[:2, :2] = 0.0
    task = ForegroundTask(in_channels=1, weighted=False, loss_grid="FEATURE_MAP")
    predictions = predictions_of(logits, true=(32, 32), padded=(48, 48))
    loss = task.loss(predictions, truth_of(mask, np.ones([2, 2])))
    np.testing.assert_allclose(loss[Losses.edgemask], np.log(2), rtol=1e-5)


def test_logits_of_a_map_stand_at_the_centers_of_its_cells():
    """Foreground 0 and 1 in the columns of a map, read at four columns of the label."""
    task = ForegroundTask(in_channels=1, loss_grid="FEATURE_MAP")
    map_logits = np.zeros([2, 2, 2])
    map_logits[:, 1, 1] = 1.0
    [comparison] = task.compare(
        predictions_of(map_logits), truth_of(np.zeros([4, 4]), np.ones([4, 4]))
    ).values()
    logits = np.array([0.0, 0.25, 0.75, 1.0])
    expected = np.broadcast_to(1 / (1 + np.exp(-logits)), [4, 4])
    np.testing.assert_allclose(comparison.predicted[0], expected, rtol=1e-5)


def test_metrics_include_those_of_constant_masks():
    """Four cells, one is foreground; the head predicts two, one of them right."""
    logits = np.zeros([2, 2, 2])
    logits[0, :, 1], logits[1, :, 0] = 1.0, 1.0
    task = ForegroundTask(in_channels=1)
    found = task.metrics(predictions_of(logits), truth_of([[1, 0], [0, 0]], np.ones([2, 2])))
    expected = {
        Metrics.edgemask_ap: [3, 4],
        Metrics.foreground_iou: [1, 2],
        Metrics.foreground_iou_of_all: [1, 4],
        Metrics.foreground_iou_of_none: [0, 1],
    }
    assert {key: value.numpy().tolist() for key, value in found.items()} == expected


@pytest.mark.parametrize("options", [{"balance": "HALF"}, {"loss_grid": "IMAGE"}])
def test_unknown_forms_are_refused(options):
    [(name, value)] = options.items()
    with pytest.raises(ValueError, match=f"{name} is '{value}'; expected one of"):
        ForegroundTask(in_channels=1, **options)
