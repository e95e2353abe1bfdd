"""Run a detector on a model golden's inputs, with the golden's weights.

`python -m tests.golden.model_runner` reads lines of CONFIG, GOLDEN, OUTPUT and options, writes
predictions, losses and gradient norms of a training golden to OUTPUT (.npz), and answers with its
name. Gradients are compared in a process of their own with TF_ENABLE_ONEDNN_OPTS=0: oneDNN's order
of summation changes gradient norms by up to 6e-4.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.config import pipeline
from object_detection_mtl.fields import Groundtruth, Predictions
from object_detection_mtl.models import coordinate_frames
from tests.golden.weight_rule import make_weight

GOLDEN = Path(__file__).parent
SAMPLES = GOLDEN.parents[1] / "samples" / "configs"
SEED = tf.constant([0, 0])

# Settings of the goldens: few proposals, and samples so large that nothing is random.
OVERRIDES = (
    "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.min_dimension=160",
    "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.max_dimension=224",
    "model.faster_rcnn.first_stage_max_proposals=16",
    "model.faster_rcnn.second_stage_batch_size=16",
    "model.faster_rcnn.first_stage_minibatch_size=100000",
    "model.faster_rcnn.first_stage_positive_balance_fraction=1.0",
    "model.faster_rcnn.second_stage_balance_fraction=1.0",
)

AUXILIARY_LABELS = {
    Groundtruth.window_boxes: "gt_windows_normalized",
    Groundtruth.window_classes: "gt_window_labels",
    Groundtruth.closeness: "gt_closeness",
    Groundtruth.edgemask: "gt_edgemask",
}


def build(config_name: str, is_training: bool) -> Any:
    """Return the detector of a sample config with the goldens' overrides and weights."""
    config = pipeline.load(str(SAMPLES / config_name), overrides=OVERRIDES)
    detector = model_builder.build(config.model, is_training=is_training)
    for name, variable in tf1_detection.name_map(detector).items():
        variable.assign(make_weight(name, tuple(variable.shape)))
    return detector


def groundtruth(golden: Any) -> dict[str, tf.Tensor]:
    """Return the padded ground truth of a training golden, as a batch of one."""
    boxes = golden["gt_boxes_normalized"][np.newaxis]
    truth = {
        Groundtruth.boxes: tf.constant(boxes),
        Groundtruth.classes: tf.constant(golden["gt_class_ids_1based"][np.newaxis], tf.int32),
        Groundtruth.num_boxes: tf.constant([boxes.shape[1]]),
    }
    auxiliary = {key: name for key, name in AUXILIARY_LABELS.items() if name in golden.files}
    return truth | {key: tf.constant(golden[name][np.newaxis]) for key, name in auxiliary.items()}


def train(detector: Any, golden: Any) -> dict[str, np.ndarray]:
    """Return predictions, weighted losses under `loss/`, gradient norms under `grad/`."""
    inputs, shapes = detector.preprocess(golden["image_uint8"][np.newaxis])
    truth = groundtruth(golden)
    names = tf1_detection.name_map(detector)
    trainable = {id(variable) for variable in detector.trainable_variables}
    names = {name: variable for name, variable in names.items() if id(variable) in trainable}
    with tf.GradientTape() as tape:
        predictions = detector.predict(inputs, shapes, truth, seed=SEED)
        losses = detector.loss(predictions, truth, seed=SEED)
        weighted = {key: loss * detector.loss_weights[key] for key, loss in losses.items()}
        total = tf.add_n(list(weighted.values()))
    gradients = tape.gradient(total, [variable.value for variable in names.values()])
    outputs = {key: value.numpy() for key, value in predictions.items()}
    outputs |= {f"loss/{key}": loss.numpy() for key, loss in weighted.items()}
    outputs["total_loss"] = total.numpy()
    outputs["regularization_loss"] = detector.regularization_loss().numpy()
    outputs["exact_regularization_loss"] = exact_regularization_loss(detector)
    outputs["unused_regularization_loss"] = unused_regularization_loss(detector, golden)
    for name, gradient in zip(names, gradients, strict=True):
        norm = -1.0 if gradient is None else tf.norm(tf.convert_to_tensor(gradient)).numpy()
        outputs[f"grad/{name}"] = np.float32(norm)
    return outputs


def round_like_the_authors(detector: Any, golden: Any) -> None:
    """Crop exactly the golden's proposals; `LAST_ON_MAP` lets crops end beyond the map."""
    keys = (Predictions.proposal_boxes, Predictions.proposal_boxes_normalized)
    proposals = {key: tf.constant(golden[key]) for key in keys}
    classify = detector.classify
    detector.classify = lambda predictions, truth, **options: classify(
        {**predictions, **proposals}, truth, **options
    )


def exact_regularization_loss(detector: Any) -> float:
    """Return the float64 sum; float32 sums of millions of squares are off by up to 2e-5."""
    return sum(
        float(variable.regularizer.l2) * np.square(variable.numpy().astype(np.float64)).sum()
        for variable in detector.variables
        if getattr(variable, "regularizer", None) is not None
    )


def unused_regularization_loss(detector: Any, golden: Any) -> float:
    """Return the part of the golden's regularization loss of layers not built here.

    The authors' first stage contains the ResNet block that only their second stage uses.
    """
    ours = tf1_detection.name_map(detector)
    total = 0.0
    for name, norm in zip(golden["grad_var_names"], golden["grad_l2_norms"], strict=True):
        if norm < 0 and name.endswith("weights"):
            used = ours[name.replace("FirstStage", "SecondStage")]
            total += used.regularizer(tf.constant(make_weight(name, tuple(used.shape)))).numpy()
    return total


def write_training(config_name: str, golden_name: str, output: str, *options: str) -> None:
    """Write the outputs of a training golden."""
    golden = np.load(GOLDEN / f"{golden_name}.npz")
    detector = build(config_name, is_training=True)
    last = coordinate_frames.LAST_ON_MAP
    if "--authors_rounding" in options:
        round_like_the_authors(detector, golden)
        last = 1.0
    with mock.patch.object(coordinate_frames, "LAST_ON_MAP", last):
        outputs = train(detector, golden)
    np.savez(output, **outputs)


def main() -> None:
    for line in sys.stdin:
        arguments = line.split()
        write_training(*arguments)
        gc.collect()  # the detector
        print(arguments[2], flush=True)


if __name__ == "__main__":
    main()
