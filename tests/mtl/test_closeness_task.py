"""The closeness task alone: auxiliary logits, loss and comparison by hand."""

from types import SimpleNamespace

import numpy as np
import tensorflow as tf

from object_detection_mtl.fields import Groundtruth, Losses, Predictions
from object_detection_mtl.mtl.auxiliary_task import RefinedProposals
from object_detection_mtl.mtl.closeness_task import ClosenessTask


def test_closeness_logits_are_the_images_mean_or_each_proposals_own():
    """Of two existing proposals; the third is padding."""
    logits = tf.constant([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]]])
    predictions = {Predictions.closeness: logits}
    context = SimpleNamespace(
        num_proposals=tf.constant([2]), refined=RefinedProposals(tf.zeros([1, 3, 4]))
    )
    both = {}
    for global_mean in (True, False):
        task = ClosenessTask(None, num_classes=1, global_mean=global_mean)
        both[global_mean] = task.auxiliary_logits(predictions, context).numpy()
    np.testing.assert_allclose(both[True], [[[2, 4]] * 3])
    np.testing.assert_allclose(both[False], logits)


def test_closeness_loss_by_hand():
    """Equal logits of K = 2 classes: ln 2 for every matched proposal whose object has a neighbour.

    First image: one of its two matched proposals has a lonely object, so half of ln 2. Second
    image: nothing is matched.
    """
    task = ClosenessTask(None, num_classes=2)
    truth = {
        Groundtruth.closeness: tf.constant([[[0.0, 0.3, 0.7], [1, 0, 0]], [[1, 0, 0], [0, 0, 0]]]),
        Groundtruth.proposal_matches: tf.constant([[0, 1, -1], [-1, -1, -1]]),
        Groundtruth.proposal_weights: tf.constant([[1.0, 1, 0], [0, 0, 0]]),
    }
    loss = task.loss({Predictions.closeness: tf.zeros([2, 3, 3])}, truth)[Losses.closeness]
    np.testing.assert_allclose(loss, np.log(2) / 2 / 2, rtol=1e-6)


def test_closeness_is_compared_by_object():
    """Two proposals of the first object, none of the second; the third is of no object."""
    logits = np.log([[1.0, 1, 3], [1, 3, 1], [1, 1, 9]])
    truth = {
        Groundtruth.boxes: tf.zeros([1, 3, 4]),
        Groundtruth.num_boxes: tf.constant([2]),
        Groundtruth.closeness: tf.constant([[[0.0, 0.3, 0.7], [1, 0, 0], [7, 7, 7]]]),
        Groundtruth.proposal_matches: tf.constant([[0, 0, -1]]),
        Groundtruth.proposal_weights: tf.constant([[1.0, 1, 0]]),
    }
    task = ClosenessTask(None, num_classes=2)
    predictions = {Predictions.closeness: tf.constant(logits[None], tf.float32)}
    [comparison] = task.compare(predictions, truth).values()
    np.testing.assert_allclose(comparison.predicted[0, :2], [[0, 0.5, 0.5], [0, 0, 0]], atol=1e-6)
    np.testing.assert_array_equal(comparison.labels, truth[Groundtruth.closeness])
    np.testing.assert_array_equal(comparison.exists, [[True, True, False]])
