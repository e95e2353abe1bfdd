"""Options around the auxiliary tasks: none of them, frozen heads, hard examples."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import native
from object_detection_mtl.fields import Batch, Losses, Predictions
from object_detection_mtl.training.training_step import StepOptions, TrainingStep
from tests.models import tiny
from tests.models.test_auxiliary_stage import ALL, AUXILIARY_LOSSES, NO_CHANCE, WEIGHTS, groundtruth
from tests.training.linear import make_model, one_device

SCOPES = ("WindowBoxPredictor/", "ClosenessBoxPredictor/", "EdgeMaskPredictor/", "MTLClassRefiner/")
NONE = tuple(setting.replace("=true", "=false") for setting in ALL)
MINER = "model.faster_rcnn.hard_example_miner"


def batch_for(detector, *images):
    inputs, shapes = detector.preprocess(tf.gather(tiny.images(3), images))
    return {**groundtruth(*images), Batch.inputs: inputs, Batch.true_image_shapes: shapes}


def operations(detector):
    """The kinds of all operations of a training step's losses."""
    batch = batch_for(detector, 0, 1)

    @tf.function(autograph=False)
    def losses():
        predictions = detector.predict(batch[Batch.inputs], batch[Batch.true_image_shapes], batch)
        return detector.loss(predictions, batch)

    return [op.type for op in losses.get_concrete_function().graph.get_operations()]


@pytest.mark.parametrize(
    "architecture", ["faster_rcnn", pytest.param("rfcn", marks=pytest.mark.slow)]
)
def test_a_baseline_has_no_trace_of_the_tasks(architecture):
    """Neither a variable nor an operation, though the labels are there and `mtl {}` has weights."""
    kind = (*tiny.ARCHITECTURES[architecture], tiny.FEW_CHANNELS)
    baseline = tiny.detector(*kind, is_training=True)
    switched_off = tiny.detector(*kind, *WEIGHTS, *NONE, is_training=True)
    everything = native.named_variables(tiny.detector(*kind, *WEIGHTS, *ALL, is_training=True))
    of_tasks = {name for name in everything if name.startswith(SCOPES)}
    assert {name.split("/")[0] + "/" for name in of_tasks} == set(SCOPES)
    for detector in (baseline, switched_off):
        assert set(native.named_variables(detector)) == set(everything) - of_tasks
        assert not set(detector.loss_weights) & set(AUXILIARY_LOSSES.values())
    assert operations(switched_off) == operations(baseline)


FLAGS = {
    "model.faster_rcnn.first_stage_box_predictor_trainable": "FirstStageBoxPredictor/",
    "model.faster_rcnn.second_stage_box_predictor.trainable": "SecondStageBoxPredictor/",
    "model.mtl.window_box_predictor.trainable": "WindowBoxPredictor/ClassPredictor/",
    "model.mtl.closeness_box_predictor.trainable": "ClosenessBoxPredictor/ClassPredictor/",
    "model.mtl.edgemask_predictor.trainable": "EdgeMaskPredictor/",
}


def trained_names(detector):
    trained = {id(variable) for variable in detector.trainable_variables}
    return {n for n, v in native.named_variables(detector).items() if id(v) in trained}


def test_a_predictor_that_is_not_trainable():
    """The flag is that of the predictor's own layers; a head's copy of stage 2 trains on."""
    options = (*ALL, *WEIGHTS, tiny.FEW_CHANNELS)
    everything = trained_names(tiny.detector(*options, is_training=True))
    frozen = [f"{flag}=false" for flag in FLAGS]
    rest = trained_names(tiny.detector(*options, *frozen, is_training=True))
    assert rest == {name for name in everything if not name.startswith(tuple(FLAGS.values()))}
    assert len(everything) - len(rest) == 6 + 4 + 2 + 2 + 2


@pytest.mark.slow
def test_a_frozen_head_keeps_its_layers_and_the_rest_trains():
    frozen = ("WindowBoxPredictor/ClassPredictor/", "EdgeMaskPredictor/")
    with one_device() as strategy:
        detector = tiny.detector(
            *ALL,
            *WEIGHTS,
            *(f"{flag}=false" for flag, layers in FLAGS.items() if layers in frozen),
            is_training=True,
        )
        variables = native.named_variables(detector)
        before = {name: variable.numpy() for name, variable in variables.items()}
        optimizer = make_model(rate=0.05).optimizer
        optimizer.build(detector.trainable_variables)
        step = TrainingStep(detector, optimizer, detector.trainable_variables, StepOptions())
        batch = batch_for(detector, 0, 1)
        tf.function(
            lambda: strategy.run(step, args=(batch, tf.constant(0, tf.int64))), autograph=False
        )()
    changed = {n for n, value in before.items() if not np.array_equal(value, variables[n].numpy())}
    assert changed == trained_names(detector)
    assert not [name for name in changed if name.startswith(frozen)]
    assert [name for name in changed if name.startswith("WindowBoxPredictor/MobilenetV1/")]


@pytest.mark.slow
def test_the_refinement_trains_on_the_hard_examples_of_every_image():
    """Hard by the main losses; the tasks go on with all proposals."""
    options = (*ALL, *WEIGHTS, *NO_CHANCE)
    mined = tiny.detector(
        *options,
        f"{MINER}.num_hard_examples=3",
        f"{MINER}.iou_threshold=0.99",
        f"{MINER}.loss_type=CLASSIFICATION",
        is_training=True,
    )

    def losses(detector, *images):
        batch = batch_for(detector, *images)
        predictions = detector.predict(batch[Batch.inputs], batch[Batch.true_image_shapes], batch)
        return predictions, {k: float(v) for k, v in detector.loss(predictions, batch).items()}

    predictions, together = losses(mined, 1, 2)
    alone = [losses(mined, image)[1] for image in (1, 2)]
    for key, loss in together.items():
        assert loss == pytest.approx(np.mean([terms[key] for terms in alone]), rel=2e-4), key
    # The second image has no object, so its targets are background.
    background = {
        key: -np.log(tf.nn.softmax(predictions[key])[1, :, 0])
        for key in (Predictions.class_predictions, Predictions.refined_classes)
    }
    hard = np.argsort(background[Predictions.class_predictions])[-3:]
    expected = background[Predictions.refined_classes][hard].sum() / 8
    assert alone[1][Losses.refined_classification] == pytest.approx(expected, rel=1e-5)
    for loss in (Losses.window, Losses.closeness, Losses.edgemask):
        sampled = losses(tiny.detector(*options, is_training=True), 1, 2)[1]
        assert together[loss] == pytest.approx(sampled[loss], rel=1e-5), loss


FORMS = (
    "model.mtl.edgemask_balance=EQUAL",
    "model.mtl.edgemask_tanh=false",
    "model.mtl.edgemask_loss_grid=FEATURE_MAP",
    "model.mtl.refine_standardize_inputs=true",
    "model.mtl.refine_main_logits_dropout=0.5",
    "model.mtl.refine_learning_rate_multiplier=3",
)


@pytest.mark.slow
def test_all_forms_train_and_infer():
    """A step reaches every trained variable and the moments; inference reads the moments."""
    with one_device() as strategy:
        detector = tiny.detector(*ALL, *WEIGHTS, *FORMS, is_training=True)
        variables = native.named_variables(detector)
        for name, value in (("mean", 0.0), ("variance", 1.0), ("updates", 0.0)):
            variable = variables[f"MTLClassRefiner/input_{name}"]
            variable.assign(tf.fill(variable.shape, value))
        before = {name: variable.numpy() for name, variable in variables.items()}
        optimizer = make_model(rate=0.05).optimizer
        optimizer.build(detector.trainable_variables)
        step = TrainingStep(detector, optimizer, detector.trainable_variables, StepOptions())
        batch = batch_for(detector, 0, 1)
        losses = tf.function(
            lambda: strategy.run(step, args=(batch, tf.constant(0, tf.int64))), autograph=False
        )()
    assert all(np.isfinite(float(loss)) for loss in losses.values())
    changed = {n for n, value in before.items() if not np.array_equal(value, variables[n].numpy())}
    moments = {f"MTLClassRefiner/input_{name}" for name in ("mean", "variance", "updates")}
    changed = {name for name in changed if not name.startswith("unnamed/")}  # random states
    assert changed == trained_names(detector) | moments
    infer = tiny.detector(*ALL, *WEIGHTS, *FORMS, is_training=False)
    for name, variable in native.named_variables(infer).items():
        if name in variables:
            variable.assign(variables[name])
    predictions = infer.predict(batch[Batch.inputs], batch[Batch.true_image_shapes])
    refined = predictions[Predictions.refined_classes]
    assert np.all(np.isfinite(refined))
    infer.refiner.moments.mean.assign(infer.refiner.moments.mean + 1.0)
    shifted = infer.predict(batch[Batch.inputs], batch[Batch.true_image_shapes])
    assert not np.allclose(shifted[Predictions.refined_classes], refined)
