"""Timed functions of a detector: inference call, training step, parts of both.

Parts are cumulative: each function computes one part more than the one before it, so the
differences of their times add up to the whole. TensorFlow prunes what a function does not return.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from object_detection_mtl.builders import model_builder, train_config_builder
from object_detection_mtl.data.augmentation import IMAGE
from object_detection_mtl.export.graph import freezing
from object_detection_mtl.fields import Batch, Groundtruth, Losses, Predictions
from object_detection_mtl.mtl.closeness_task import ClosenessLabels, ClosenessTask
from object_detection_mtl.mtl.foreground_task import ForegroundLabels, ForegroundTask
from object_detection_mtl.mtl.task_labels import TaskLabelMaker
from object_detection_mtl.mtl.window_task import WindowLabels, WindowTask
from object_detection_mtl.training import micro_batches, mixed_precision
from object_detection_mtl.training.training_step import TrainingStep

NUM_BOXES = 8


def inference(config: Any, image: tf.Tensor) -> Any:
    """Return a `tf.function` that detects on an image [1, H, W, 3] uint8."""
    detector = model_builder.build(config.model, is_training=False)

    @tf.function(autograph=False)
    def detect() -> dict[str, tf.Tensor]:
        return detector.postprocess(*_predict(detector, image))

    return detect


def frozen_inference(config: Any, image: tf.Tensor, precision: str) -> Any:
    """Return the exported function, whose input is an image [1, H, W, 3]."""
    detector = model_builder.build(config.model, is_training=False)

    def detect(given: tf.Tensor) -> dict[str, tf.Tensor]:
        return detector.postprocess(*_predict(detector, given))

    spec = tf.TensorSpec(image.shape, image.dtype, name="image")
    module = SimpleNamespace(detect=tf.function(detect, input_signature=[spec], autograph=False))
    return freezing.optimize_module(module, precision).detect


def training(
    config: Any,
    image: tf.Tensor,
    prepare: Callable[[Any], None] = lambda detector: None,
    num_images: int = 1,
) -> Any:
    """Return a `tf.function`: a training step on an image with 8 boxes and all auxiliary labels.

    `train_config.use_bfloat16` applies on any device. `prepare` gets the new detector. The batch is
    the image `num_images` times.
    """
    micro_batches.check_divisible(num_images, config.train_config.num_micro_batches)
    detector = model_builder.build(config.model, is_training=True)
    prepare(detector)
    if config.train_config.use_bfloat16:
        mixed_precision.use_bfloat16(detector)
    step = _training_step(config, detector)
    batch = training_batch(detector, image)
    batch = {key: tf.repeat(value, num_images, axis=0) for key, value in batch.items()}
    return tf.function(lambda: step(batch, tf.constant(0, tf.int64)), autograph=False)


def training_batch(detector: Any, image: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return a batch of one image; a baseline does not read the labels of the tasks."""
    random = np.random.RandomState(0)
    corners = random.uniform(0.0, 0.6, (NUM_BOXES, 2))
    boxes = np.concatenate([corners, corners + random.uniform(0.1, 0.4, (NUM_BOXES, 2))], axis=-1)
    example = {
        IMAGE: image[0],
        Groundtruth.boxes: tf.constant(boxes, tf.float32),
        Groundtruth.classes: tf.constant(
            random.randint(1, detector.num_classes + 1, NUM_BOXES), tf.int32
        ),
    }
    maker = TaskLabelMaker(
        (WindowLabels(), ClosenessLabels(), ForegroundLabels()), detector.num_classes
    )
    labels = maker.label(example, tf.shape(example[IMAGE])[:2], tf.constant([0, 0]))
    inputs, shapes = detector.preprocess(image)
    truth = {**example, **labels, Groundtruth.num_boxes: tf.constant(NUM_BOXES)}
    del truth[IMAGE]
    return {
        **{key: value[tf.newaxis] for key, value in truth.items()},
        Batch.inputs: inputs,
        Batch.true_image_shapes: shapes,
    }


def inference_parts(config: Any, image: tf.Tensor) -> dict[str, Any]:
    """Return the name of a part -> `tf.function` that ends with it, in the order of execution."""
    detector = model_builder.build(config.model, is_training=False)
    tasks = {type(task) for task in detector.aux_tasks}
    names = [
        "stage-1 features",
        "RPN and proposals",
        "crops and stage-2 block",
        "box head",
        *(["closeness"] if ClosenessTask in tasks else []),
        *(["foreground"] if ForegroundTask in tasks else []),
        *(["window head on proposals", "expanded windows"] if WindowTask in tasks else []),
        *(["refining layer"] if detector.refiner is not None else []),
        "post-processing",
    ]

    def up_to(last: str) -> Any:
        @tf.function(autograph=False)
        def function() -> list[tf.Tensor]:
            values = _inference_values(detector, image)
            earlier = [values[name] for name in _until(names, last)[:-1] if name not in _INSIDE]
            return [*earlier, values[last]]

        return function

    return {name: up_to(name) for name in names}


# Parts of the next part, which is returned instead.
_INSIDE = ("crops and stage-2 block", "window head on proposals")


def _inference_values(detector: Any, image: tf.Tensor) -> dict[str, Any]:
    """Return the name of a part -> what it computes."""
    real, regions = detector.second_stage.read, []

    def read(*inputs: Any, **options: Any) -> Any:
        regions.append(real(*inputs, **options))
        return regions[-1]

    with mock.patch.object(detector.second_stage, "read", read):
        predictions, shapes = _predict(detector, image)
    values = {
        "stage-1 features": predictions[Predictions.rpn_features_to_crop],
        "RPN and proposals": predictions[Predictions.proposal_boxes],
        "crops and stage-2 block": regions[0].classifier_features,
        "box head": [
            predictions[Predictions.class_predictions],
            predictions[Predictions.refined_box_encodings],
        ],
        "closeness": predictions.get(Predictions.closeness),
        "foreground": predictions.get(Predictions.edgemask),
        "expanded windows": predictions.get(Predictions.expanded_windows),
        "refining layer": predictions.get(Predictions.refined_classes),
        "post-processing": detector.postprocess(predictions, shapes),
    }
    for task in detector.aux_tasks:
        if isinstance(task, WindowTask):
            head = task.head.read(regions[0], training=False)
            values["window head on proposals"] = head.proposals()
    return values


# Part -> the losses that it ends with.
TRAINING_LOSSES = {
    "first stage": (Losses.rpn_localization, Losses.rpn_objectness),
    "second stage": (Losses.box_localization, Losses.box_classification),
    "closeness": (Losses.closeness,),
    "foreground": (Losses.edgemask,),
    "given windows": (Losses.window,),
    "refinement": (Losses.refined_classification,),
}
UPDATE = "regularization, clipping, update"


def training_parts(config: Any, image: tf.Tensor) -> dict[str, Any]:
    """Return the name of a part -> `tf.function` that ends with it: losses and their gradients."""
    detector = model_builder.build(config.model, is_training=True)
    batch = training_batch(detector, image)
    seed = tf.constant([0, 0])
    variables = [variable.value for variable in detector.trainable_variables]
    weights = detector.loss_weights

    def up_to(last: str) -> Any:
        keys = itertools.chain(*(TRAINING_LOSSES[name] for name in _until(TRAINING_LOSSES, last)))
        wanted = [key for key in keys if key in weights]

        @tf.function(autograph=False)
        def function() -> list[Any]:
            with tf.GradientTape() as tape:
                predictions = detector.predict(
                    batch[Batch.inputs], batch[Batch.true_image_shapes], batch, seed=seed
                )
                losses = detector.loss(predictions, batch, seed=seed)
                total = tf.add_n([weights[key] * losses[key] for key in wanted])
            return [g for g in tape.gradient(total, variables) if g is not None]

        return function

    parts = {
        name: up_to(name)
        for name, losses in TRAINING_LOSSES.items()
        if any(loss in weights for loss in losses)
    }
    step = _training_step(config, detector)
    return {
        **parts,
        UPDATE: tf.function(lambda: step(batch, tf.constant(0, tf.int64)), autograph=False),
    }


def _until(names: Any, last: str) -> list[str]:
    ordered = list(names)
    return ordered[: ordered.index(last) + 1]


def _predict(detector: Any, image: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    inputs, shapes = detector.preprocess(image)
    return detector.predict(tf.ensure_shape(inputs, image.shape), shapes), shapes


def _training_step(config: Any, detector: Any) -> TrainingStep:
    model = train_config_builder.build_model(config.train_config, detector)
    variables = list(model.trained.values())
    model.optimizer.build(variables)
    return TrainingStep(detector, model.optimizer, variables, model.step_options)
