"""The refiner's inputs, collected from a toy detector."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.evaluation import refiner_inputs
from object_detection_mtl.evaluation.refiner_inputs import MAIN, collect_refiner_inputs
from object_detection_mtl.fields import Batch, Groundtruth, Predictions
from tests.models import tiny

TASKS = tuple(f"model.mtl.{field}=true" for field in ("window", "closeness", "edgemask"))
REFINED = (*TASKS, "model.mtl.refine=true", "model.mtl.edgemask_predictor.kernel_size=1")
BOXES = ([[0.05, 0.12, 0.42, 0.28], [0.54, 0.32, 0.9, 0.48]], [[0.3, 0.3, 0.65, 0.46]], [])


@pytest.fixture(scope="module")
def detector():
    return tiny.detector(*REFINED, "model.mtl.refine_residue=true", is_training=False)


@pytest.fixture(scope="module")
def batch(detector):
    inputs, shapes = detector.preprocess(tiny.images(3))
    weights = tf.constant([[1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    return {
        Batch.inputs: inputs,
        Batch.true_image_shapes: shapes,
        **tiny.groundtruth(*BOXES),
        Groundtruth.weights: weights,
    }


def dataset(batch, size=2):
    return tf.data.Dataset.from_tensor_slices(batch).batch(size)


@pytest.fixture(scope="module")
def collected(detector, batch):
    return collect_refiner_inputs(detector, dataset(batch))


def test_the_refiner_gives_its_logits_from_these_inputs(detector, collected):
    assert list(collected.groups) == [MAIN, "window", "closeness"]
    kernel, bias = (value.numpy() for value in detector.refiner.linear_layers[0].weights)
    logits = collected.inputs() @ kernel + bias + collected.main
    np.testing.assert_allclose(logits, collected.refined, atol=1e-5)
    assert collected.inputs((MAIN, "closeness")).shape[1] == 8


def test_proposals_and_classes_are_those_of_detection(detector, batch, collected):
    predictions = detector.predict(batch[Batch.inputs], batch[Batch.true_image_shapes])
    targets = detector.assign_groundtruth(predictions, batch)
    classes = np.argmax(targets.class_targets, axis=-1)
    counts = np.asarray(predictions[Predictions.num_proposals])
    expected = [classes[i, : counts[i]] for i in range(3)]
    # The object of the second image does not count; proposals that match it are dropped.
    weights = [np.asarray(targets.class_weights)[i, : counts[i]] for i in range(3)]
    kept = [found[weight > 0] for found, weight in zip(expected, weights, strict=True)]
    np.testing.assert_array_equal(collected.classes, np.concatenate(kept))
    assert collected.images.tolist() == sum(([i] * len(part) for i, part in enumerate(kept)), [])
    assert (collected.classes > 0).any()


def test_images_to_read(detector, batch):
    found = collect_refiner_inputs(detector, dataset(batch), num_images=1)
    assert set(found.images) == {0}


def test_jittered_copies_are_added(detector, batch, collected):
    found = collect_refiner_inputs(detector, dataset(batch), jitter=2)
    assert len(found.classes) > 2 * len(collected.classes)
    assert set(found.images) == set(collected.images)
    rows = [number for number in range(len(found.classes)) if found.images[number] == 0]
    assert len({tuple(found.main[row].round(4)) for row in rows}) > sum(collected.images == 0)


def test_jitter_stays_near_and_inside():
    boxes = tf.constant([[[10.0, 20.0, 50.0, 60.0], [0.0, 0.0, 100.0, 80.0]]])
    windows = tf.constant([[0.0, 0.0, 100.0, 80.0]])
    seeds = [tf.constant([0, number]) for number in range(50)]
    moved = np.stack([refiner_inputs.jitter_boxes(boxes, windows, seed)[0] for seed in seeds])
    assert moved[:, 1].min() >= 0.0
    assert moved[:, 1, 3].max() <= 80.0
    difference = np.abs(moved[:, 0] - np.asarray(boxes)[0, 0])
    assert 2.0 < difference.max() <= 0.1 * 40 + 0.1 * 40 + 1e-4
    assert np.ptp(moved[:, 0, 2] - moved[:, 0, 0]) > 5.0


def test_only_refined_proposals_with_top_k(detector, batch, collected):
    detector.refiner.top_k = 2
    try:
        found = collect_refiner_inputs(detector, dataset(batch))
        assert detector.refiner.top_k == 2
    finally:
        detector.refiner.top_k = 0
    assert np.bincount(found.images).max() <= 2
    scores = tf.reduce_max(tf.nn.softmax(collected.main)[:, 1:], axis=1).numpy()
    best = np.sort(scores[collected.images == 0])[-2:]
    kept = tf.reduce_max(tf.nn.softmax(found.main)[:, 1:], axis=1).numpy()[found.images == 0]
    np.testing.assert_allclose(np.sort(kept), best, rtol=1e-5)


def test_without_a_refiner(batch):
    plain = tiny.detector(is_training=False)
    with pytest.raises(ValueError, match=r"mtl\.refine is off"):
        collect_refiner_inputs(plain, dataset(batch))
