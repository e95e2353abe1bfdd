"""Detections and losses of an evaluation batch, with a real detector."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.evaluation.evaluation_step import make_infer_fn
from object_detection_mtl.fields import Batch, Groundtruth
from object_detection_mtl.models import rpn
from object_detection_mtl.mtl.closeness_task import ClosenessLabels
from object_detection_mtl.mtl.foreground_task import ForegroundLabels
from object_detection_mtl.mtl.task_labels import TaskLabelMaker
from object_detection_mtl.mtl.window_task import WindowLabels
from tests.models import tiny as toy
from tests.training import tiny

TASK_WEIGHTS = (
    "model.mtl.window_class_loss_weight=1",
    "model.mtl.closeness_loss_weight=1",
    "model.mtl.edgemask_loss_weight=1",
)


def spec(batch):
    """Return the element spec of a dataset of such batches, images of any size."""
    specs = {
        key: tf.TensorSpec([None, *value.shape[1:]], value.dtype) for key, value in batch.items()
    }
    return specs | {"inputs": tf.TensorSpec([None, None, None, 3], tf.float32)}


@pytest.fixture(scope="module")
def detector():
    return tiny.tiny_detector(is_training=False)


def test_detections_and_losses(detector):
    batch = tiny.batch(0, 1)
    infer = make_infer_fn(detector, spec(batch))
    found = infer(batch)
    predictions = detector.predict(batch["inputs"], batch["true_image_shapes"])
    expected = detector.postprocess(predictions, batch["true_image_shapes"])
    for key in ("detection_boxes", "detection_scores", "detection_classes", "num_detections"):
        np.testing.assert_allclose(found[key], expected[key], atol=1e-5)
    losses = {key: float(value) for key, value in found.items() if key.startswith("Loss/")}
    assert set(losses) == {
        "Loss/RPNLoss/localization_loss",
        "Loss/RPNLoss/objectness_loss",
        "Loss/BoxClassifierLoss/localization_loss",
        "Loss/BoxClassifierLoss/classification_loss",
        "Loss/regularization_loss",
        "Loss/total_loss",
    }
    total = losses.pop("Loss/total_loss")
    assert total == pytest.approx(sum(losses.values()), rel=1e-5)
    # An untrained classifier of three classes and a half-and-half objectness.
    assert losses["Loss/BoxClassifierLoss/classification_loss"] == pytest.approx(np.log(3), rel=0.1)
    assert losses["Loss/RPNLoss/objectness_loss"] == pytest.approx(np.log(2), rel=0.1)


def test_images_of_other_sizes_need_no_new_graph(detector):
    infer = make_infer_fn(detector, spec(tiny.batch(0)))
    for height, width in ((32, 32), (48, 32), (40, 64)):
        found = infer(tiny.batch(3, height=height, width=width))
        assert np.all(np.isfinite(found["detection_scores"]))
        assert float(found["Loss/total_loss"]) > 0


@pytest.mark.slow
def test_first_stage_losses_of_a_padded_batch():
    """The losses are means over images: the test model's features of padding are zero.

    Losses of the second stage differ: the position of a crop depends on the size of the map.
    """
    detector = tiny.tiny_detector(is_training=False)
    # Enough for all anchors, so that there is no random sample.
    detector.region_proposals.sampling = rpn.RpnSampling(minibatch_size=1000)
    small, large = tiny.batch(3, 1, height=32, width=32), tiny.batch(4, 1, height=48, width=40)
    alone = [make_infer_fn(detector, spec(batch))(batch) for batch in (small, large)]
    padded = {"inputs": tf.pad(small["inputs"], [[0, 0], [0, 16], [0, 8], [0, 0]])}
    batch = {key: tf.concat([padded.get(key, small[key]), large[key]], 0) for key in small}
    together = make_infer_fn(detector, spec(batch))(batch)
    losses = [key for key in together if key.startswith("Loss/RPNLoss/")]
    assert len(losses) == 2
    for key in losses:
        mean = np.mean([float(found[key]) for found in alone])
        assert float(together[key]) == pytest.approx(mean, rel=1e-5), key


def test_an_image_without_objects(detector):
    batch = tiny.batch(0)
    batch["num_groundtruth_boxes"] = tf.constant([0])
    batch["groundtruth_classes"] = tf.zeros_like(batch["groundtruth_classes"])
    found = make_infer_fn(detector, spec(batch))(batch)
    assert float(found["Loss/BoxClassifierLoss/localization_loss"]) == 0.0
    assert np.isfinite(float(found["Loss/total_loss"]))


@pytest.mark.slow
def test_losses_of_auxiliary_tasks_where_the_labels_are():
    tasks = [f"model.mtl.{name}=true" for name in ("window", "closeness", "edgemask")]
    detector = toy.detector(*tasks, *TASK_WEIGHTS, is_training=False)
    inputs, shapes = detector.preprocess(toy.images(1))
    batch = {
        Batch.inputs: inputs,
        Batch.true_image_shapes: shapes,
        **toy.groundtruth([[0.1, 0.1, 0.6, 0.5], [0.4, 0.3, 0.9, 0.9]]),
        Groundtruth.weights: tf.ones([1, 2]),
    }
    example = {
        Groundtruth.boxes: batch[Groundtruth.boxes][0],
        Groundtruth.classes: batch[Groundtruth.classes][0],
    }
    maker = TaskLabelMaker((WindowLabels(4), ClosenessLabels(), ForegroundLabels()), 3)
    made = maker.label(example, tf.constant([64, 80]), tf.constant([1, 2]))
    labels = {key: value[tf.newaxis] for key, value in made.items()}
    without, found = (
        {key: float(value) for key, value in outcome.items() if key.startswith("Loss/MTL/")}
        for outcome in (
            make_infer_fn(detector, spec(batch))(batch),
            make_infer_fn(detector, spec(batch | labels))(batch | labels),
        )
    )
    assert without == {}
    assert set(found) == {
        "Loss/MTL/window_class_loss",
        "Loss/MTL/closeness_classification_loss",
        "Loss/MTL/edgemask_loss",
    }
    closeness = found.pop("Loss/MTL/closeness_classification_loss")
    assert np.isfinite(closeness), found
    assert closeness >= 0, found  # 0: no proposal matches an object
    assert all(np.isfinite(value) and value > 0 for value in found.values()), found


class Brightness(keras.layers.Layer):
    """An auxiliary task with a label key of its own: is the image bright?"""

    labels = ("image_brightness",)
    optional_labels = ("brightness_weight",)
    outputs = ()
    auxiliary_width = 0
    loss_weights = {"brightness_loss": 2.0}

    def __init__(self, metric="mtl/brightness_error"):
        super().__init__(name="brightness")
        self.metric = metric

    def predict(self, context):
        return {"brightness": tf.reduce_mean(context.features, axis=[1, 2, 3])}

    def loss(self, predictions, groundtruth):
        return {"brightness_loss": self.error(predictions, groundtruth)}

    def metrics(self, predictions, groundtruth):
        return {self.metric: tf.stack([self.error(predictions, groundtruth), 1.0])}

    def compare(self, predictions, groundtruth):
        return {}

    def error(self, predictions, groundtruth):
        difference = predictions["brightness"] - groundtruth["image_brightness"]
        return tf.reduce_mean(tf.abs(difference) * groundtruth.get("brightness_weight", 1.0))


def detector_with(task):
    detector = tiny.tiny_detector(is_training=False)
    detector.aux_tasks = (task,)
    detector.loss_weights |= task.loss_weights
    return detector


def test_a_task_with_a_label_key_of_its_own_reports_losses_and_metrics():
    detector, batch = detector_with(Brightness()), tiny.batch(0, 1)
    batch |= {"image_brightness": tf.constant([1.5, 0.5]), "brightness_weight": tf.constant([0, 3])}
    batch["brightness_weight"] = tf.cast(batch["brightness_weight"], tf.float32)
    found = make_infer_fn(detector, spec(batch))(batch)
    predictions = detector.predict(batch["inputs"], batch["true_image_shapes"])
    expected = 1.5 * abs(float(predictions["brightness"][1]) - 0.5)
    assert float(found["Loss/MTL/brightness_loss"]) == pytest.approx(2.0 * expected, rel=1e-5)
    np.testing.assert_allclose(found["mtl/brightness_error"], [expected, 1.0], rtol=1e-5)


def test_a_task_without_its_labels_is_named(caplog):
    batch = tiny.batch(0)
    found = make_infer_fn(detector_with(Brightness()), spec(batch))(batch)
    assert "Loss/MTL/brightness_loss" not in found
    assert "mtl/brightness_error" not in found
    assert "brightness_loss: the evaluation dataset has no image_brightness" in caplog.text


def test_a_metric_that_would_not_be_reported_is_an_error():
    batch = tiny.batch(0) | {"image_brightness": tf.constant([1.0])}
    with pytest.raises(ValueError, match='"brightness".*begin with "mtl/"'):
        make_infer_fn(detector_with(Brightness("brightness")), spec(batch))(batch)
