"""A registered task, with label keys of its own, from records to metrics."""

from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

import object_detection_mtl as odm
from object_detection_mtl import jobs
from object_detection_mtl.builders import input_reader_builder, label_builder, mtl_builder
from object_detection_mtl.checkpoints import loading
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.mtl.task_labels import LabelSpec, TaskLabelMaker, TaskLabels
from object_detection_mtl.protos import model_pb2
from object_detection_mtl.training.run_options import RunOptions
from tests import eager, records, tiny_backbone

SIZES, COUNT = "object_sizes", "object_count"


@dataclass(frozen=True)
class SizeLabels(TaskLabels):
    """The area of every box, and how many boxes an image has."""

    def specs(self, num_classes):
        return {SIZES: LabelSpec((None,), per_object=True), COUNT: LabelSpec((), tf.int32)}

    def make(self, inputs):
        sides = inputs.boxes[..., 2:] - inputs.boxes[..., :2]
        count = tf.reduce_sum(tf.cast(inputs.valid, tf.int32), axis=-1)
        return {SIZES: sides[..., 0] * sides[..., 1], COUNT: count}


class SizeTask(keras.layers.Layer):
    """The area of each proposal's object, from the proposal alone; and the number of objects."""

    labels = (SIZES, COUNT)
    optional_labels = ()
    outputs = ("size_predictions",)
    auxiliary_width = 1
    loss_weights = {"size_loss": 3.0}

    def __init__(self):
        super().__init__(name="size")
        self.linear = keras.layers.Dense(1, name="linear")
        self.linear.build((None, None, 4))
        self.built = True

    def predict(self, context):
        return {"size_predictions": self.linear(context.proposals)[..., 0]}

    def auxiliary_logits(self, predictions, context):
        return context.refined.of(predictions["size_predictions"])[..., tf.newaxis]

    def loss(self, predictions, groundtruth):
        error, weights = self.errors(predictions, groundtruth)
        count = tf.cast(groundtruth[COUNT], tf.float32)
        off = tf.abs(tf.reduce_sum(predictions["size_predictions"], axis=1) - count)
        return {"size_loss": tf.reduce_mean(tf.reduce_mean(error * weights, axis=1) + off)}

    def metrics(self, predictions, groundtruth):
        count = tf.cast(tf.reduce_sum(groundtruth[COUNT]), tf.float32)
        images = tf.cast(tf.size(groundtruth[COUNT]), tf.float32)
        return {
            "mtl/object_count": tf.stack([count, images]),
            "mtl/object_size": tf.stack([tf.reduce_sum(groundtruth[SIZES]), count]),
        }

    def compare(self, predictions, groundtruth):
        return {}

    def tf1_variables(self):
        return {"size/weights": self.linear.kernel, "size/biases": self.linear.bias}

    def errors(self, predictions, groundtruth):
        rows = tf.maximum(groundtruth[Groundtruth.proposal_matches], 0)
        sizes = tf.gather(groundtruth[SIZES], rows, batch_dims=1)
        weights = groundtruth[Groundtruth.proposal_weights]
        return tf.abs(predictions["size_predictions"] - sizes), weights


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(mtl_builder, "REGISTERED_TASKS", {})
    mtl_builder.register_task("size", lambda parts: SizeTask(), SizeLabels())


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    records.write(path)
    return path


def load(directory, *overrides):
    return records.load(
        directory, 'model.mtl.registered_tasks=["size"]', "train_config.num_steps=1", *overrides
    )


@pytest.mark.slow
def test_its_labels_follow_augmentation_and_are_padded_with_the_boxes(directory):
    config = load(directory, "train_config.data_augmentation_options=[{random_crop_image {}}]")
    dataset = input_reader_builder.build_dataset(
        config.train_input_reader,
        preprocess_fn=lambda image: (image[:48, :48], tf.shape(image[:48, :48])),
        num_classes=2,
        batch_size=2,
        is_training=True,
        augmentation_steps=config.train_config.data_augmentation_options,
        max_boxes=3,
        labels=label_builder.build(config.model),
    )
    for batch in dataset.take(4):
        boxes = batch[Groundtruth.boxes].numpy()
        assert boxes.shape == (2, 3, 4)
        areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
        np.testing.assert_allclose(batch[SIZES], areas, atol=1e-6)
        np.testing.assert_array_equal(batch[COUNT], batch[Groundtruth.num_boxes])


@pytest.mark.slow
def test_it_is_trained_evaluated_and_restored(directory, tmp_path, monkeypatch):
    """Its loss and its metric are reported; its variables are in the checkpoint."""
    tiny_backbone.register(monkeypatch)
    refine = ("model.mtl.refine=true", "model.mtl.refined_classification_loss_weight=1.0")
    config = load(directory, *refine, tiny_backbone.OVERRIDE)
    with eager.eagerly():
        result = jobs.train(config, tmp_path / "run", RunOptions(log_every_n=1))
    assert result.metrics["Loss/MTL/size_loss"] == pytest.approx(
        3.0 * result.metrics["UnweightedLoss/MTL/size_loss"], rel=1e-5
    )
    metrics = jobs.evaluate(config, str(tmp_path / "run"), tmp_path / "run", once=True)
    assert metrics["mtl/object_count"] == 1.0
    assert metrics["mtl/object_size"] == pytest.approx((0.25 + 0.1875 + 0.25) / 3, rel=1e-3)
    assert metrics["Loss/MTL/size_loss"] > 0.0
    detector = jobs.model_builder.build(config.model, is_training=False)
    loading.load_detector_weights(detector, result.checkpoint, use_moving_averages=False)
    assert np.any(detector.aux_tasks[0].linear.bias.numpy() != 0.0)
    assert detector.refiner.linear_layers[0].kernel.shape == (3 + 1, 3)


def test_records_cannot_store_its_labels():
    text = "faster_rcnn { num_classes: 2 } mtl { registered_tasks: 'size' label_source: RECORD }"
    with pytest.raises(ValueError, match="cannot store labels of size; .*ON_THE_FLY"):
        label_builder.build(text_format.Parse(text, model_pb2.DetectionModel()))


def test_a_detection_checkpoint_fills_it(directory):
    config = load(directory).train_config
    assert "size/" in mtl_builder.restored_scopes(config)


class WrongKeys(SizeLabels):
    def make(self, inputs):
        return {SIZES: super().make(inputs)[SIZES]}


class WrongShape(SizeLabels):
    def make(self, inputs):
        return {**super().make(inputs), COUNT: tf.zeros([5], tf.int32)}


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (WrongKeys(), r"returned the labels \['object_sizes'\], but its specs have"),
        (WrongShape(), r"object_count is int32 \(5,\), but its spec is int32 \(\)"),
    ],
)
def test_labels_that_contradict_their_specs_are_named(labels, message):
    example = {Groundtruth.boxes: tf.zeros([1, 4]), Groundtruth.classes: tf.constant([1])}
    with pytest.raises(ValueError, match=message):
        TaskLabelMaker((labels,), 2).label(example, tf.constant([8, 8]), tf.constant([0, 0]))


def test_a_task_that_is_not_registered_is_named():
    config = text_format.Parse('registered_tasks: "sizes"', model_pb2.MTL())
    with pytest.raises(ValueError, match=r"has 'sizes', .* \(registered: size\)"):
        mtl_builder.enabled_tasks(config)
    with pytest.raises(ValueError, match="'sizes' is unknown; .* size.*size"):
        odm.build_detector("faster_rcnn_mobilenet_v1", num_classes=2, tasks=["sizes"])


@pytest.mark.parametrize("name", ["window", "foreground", "refine", "two words", ""])
def test_names_of_registered_tasks_are_their_own(name):
    with pytest.raises(ValueError, match="task name"):
        mtl_builder.register_task(name, lambda parts: SizeTask(), SizeLabels())


def test_variables_of_registered_tasks_have_its_name():
    mtl_builder.register_task("other", lambda parts: SizeTask(), SizeLabels())
    with pytest.raises(ValueError, match='"other/", by which checkpoints'):
        odm.build_detector("faster_rcnn_mobilenet_v1", num_classes=2, tasks=["other"])


def test_a_type_enables_registered_tasks_beside_those_of_the_package():
    detector = odm.build_detector(
        "faster_rcnn_mobilenet_v1", num_classes=2, tasks=["size", "foreground"], refine=True
    )
    assert [task.name for task in detector.model.aux_tasks] == ["EdgeMaskPredictor", "size"]
    assert detector.model.refiner.linear_layers[0].kernel.shape == (3 + 1, 3)
