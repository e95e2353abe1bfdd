"""Mistakes in tasks and labels of other programs are named."""

import keras
import pytest
import tensorflow as tf

from object_detection_mtl.builders import mtl_builder
from object_detection_mtl.fields import Groundtruth, Losses
from object_detection_mtl.mtl import task_checks
from object_detection_mtl.mtl.task_labels import LabelSpec, TaskLabelMaker, TaskLabels

NUM_CLASSES = 2


class CountLabels(TaskLabels):
    key = "object_counts"

    def specs(self, num_classes):
        return {self.key: LabelSpec((num_classes,))}

    def make(self, inputs):
        return {self.key: tf.zeros([NUM_CLASSES])}


class CountTask(keras.layers.Layer):
    labels, optional_labels, outputs = ("object_counts",), (), ("predicted_counts",)
    loss_weights = {"count_loss": 0.5}
    auxiliary_width = NUM_CLASSES

    def __init__(self, name="counts"):
        super().__init__(name=name)

    def predict(self, context): ...

    def auxiliary_logits(self, predictions, context): ...

    def loss(self, predictions, groundtruth): ...

    def metrics(self, predictions, groundtruth): ...

    def compare(self, predictions, groundtruth): ...

    def tf1_variables(self):
        return {}


def changed(**attributes):
    return type("OwnTask", (CountTask,), attributes)()


@pytest.mark.parametrize(
    ("build", "labels", "message"),
    [
        (5, CountLabels(), "'own': build is 5; expected a function"),
        (CountTask, None, "'own': labels is None; expected an instance"),
        (CountTask, CountLabels, r"labels is <class .*Write CountLabels\(\)\."),
    ],
)
def test_arguments_of_a_registration(build, labels, message):
    with pytest.raises(ValueError, match=message):
        mtl_builder.register_task("own", build, labels)
    assert "own" not in mtl_builder.REGISTERED_TASKS


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (None, "'own': build returned None; expected a keras.layers.Layer"),
        (
            keras.layers.Layer(),
            r"'own': Layer has no predict\(\), auxiliary_logits\(\), loss\(\), .*auxiliary_width",
        ),
        (changed(loss=None), r"'own': OwnTask has no loss\(\); add"),
        (changed(labels="counts"), "OwnTask.labels is 'counts'; expected a tuple of keys"),
        (changed(loss_weights=0.5), "OwnTask.loss_weights is 0.5; expected a dictionary"),
        (
            changed(labels=("counts",)),
            "OwnTask.labels has 'counts', which its labels do not make; .* have object_counts",
        ),
        (changed(tf1_variables=lambda self: {"kernel": 0}), "'kernel'; expected .*\"own/\""),
    ],
)
def test_an_incomplete_task(task, message):
    with pytest.raises(ValueError, match=message):
        task_checks.check_task("own", task, ["object_counts"])


def test_a_complete_task():
    task_checks.check_task("own", CountTask(), ["object_counts"])
    task_checks.check_task("own", changed(labels=(Groundtruth.boxes,)), [])
    task_checks.check_together([CountTask("a"), changed(loss_weights={Losses.window: 1.0})])


def test_tasks_that_share_a_name_or_a_loss():
    with pytest.raises(ValueError, match="have the layer name 'counts'; give each its own"):
        task_checks.check_together([CountTask(), CountTask()])
    with pytest.raises(ValueError, match="'b': task 'a' has a loss 'count_loss', too"):
        task_checks.check_together([CountTask("a"), CountTask("b")])
    with pytest.raises(ValueError, match="the detector has a loss 'second_stage_class"):
        task_checks.check_together([changed(loss_weights={Losses.box_classification: 1.0})])


def test_predictions_under_foreign_keys():
    made = {"predicted_counts": tf.zeros([1, 2])}
    task_checks.check_predictions(CountTask(), made, {"anchors"})
    with pytest.raises(ValueError, match="'counts': predict returned 'predicted_counts', a key of"):
        task_checks.check_predictions(CountTask(), made, {"predicted_counts"})


def test_auxiliary_logits_of_another_width():
    logits = tf.zeros([1, 7, NUM_CLASSES])
    assert task_checks.check_width(CountTask(), logits) is logits
    with pytest.raises(ValueError, match=r"shape \(1, 7, 9\); expected \[batch, proposals, 2\]"):
        task_checks.check_width(CountTask(), tf.zeros([1, 7, 9]))


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        (
            {"other": 1.0},
            r"loss returned \['other'\], but loss_weights has \['count_loss'\]; both",
        ),
        ({"count_loss": [1.0, 2.0]}, r"'count_loss' has the shape \(2,\); expected a scalar"),
    ],
)
def test_losses_without_weight_or_with_a_shape(terms, message):
    terms = {key: tf.constant(value) for key, value in terms.items()}
    with pytest.raises(ValueError, match=message):
        task_checks.check_losses(CountTask(), terms)


def test_metrics_that_are_not_a_sum_and_a_count():
    metrics = {"mtl/count_error": tf.zeros([2])}
    assert task_checks.check_metrics(CountTask(), metrics) is metrics
    with pytest.raises(ValueError, match=r"'mtl/count_error' has the shape \(\); expected \(2,\)"):
        task_checks.check_metrics(CountTask(), {"mtl/count_error": tf.constant(1.0)})


class BareSpec(CountLabels):
    def specs(self, num_classes):
        return {self.key: (num_classes,)}


class BoxLabels(CountLabels):
    key = Groundtruth.boxes


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ((BareSpec(),), r"BareSpec.specs: 'object_counts' is \(2,\); expected a LabelSpec"),
        ((BoxLabels(),), "BoxLabels.specs: 'groundtruth_boxes' is a key of every batch"),
        ((CountLabels(), CountLabels()), "'object_counts' is also a label of CountLabels"),
    ],
)
def test_labels_with_unusable_keys(labels, message):
    with pytest.raises(ValueError, match=message):
        TaskLabelMaker(labels, NUM_CLASSES)
