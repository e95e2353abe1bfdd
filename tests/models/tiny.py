"""A detector small enough for unit tests, and batches to feed it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.config import pipeline
from object_detection_mtl.fields import Groundtruth
from tests.golden.model_runner import SAMPLES
from tests.golden.weight_rule import make_weight

SAMPLE = SAMPLES / "faster_rcnn_mobilenet_v1_voc07.config"
OVERRIDES = (
    "model.faster_rcnn.num_classes=3",
    "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.min_dimension=64",
    "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.max_dimension=96",
    "model.faster_rcnn.first_stage_box_predictor_depth=8",
    "model.faster_rcnn.first_stage_max_proposals=8",
    "model.faster_rcnn.second_stage_batch_size=6",
    "model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator.height=64",
    "model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator.width=64",
)

# For tests of what is there, whatever its numbers: a quarter of the channels.
FEW_CHANNELS = "model.faster_rcnn.feature_extractor.depth_multiplier=0.25"
# Overrides for R-FCN.
RFCN = tuple(
    f"model.faster_rcnn.second_stage_box_predictor.rfcn_box_predictor.{setting}"
    for setting in ("depth=8", "crop_height=6", "crop_width=6")
)
ARCHITECTURES = {"faster_rcnn": (), "rfcn": RFCN}


def config(*overrides: str) -> Any:
    """The VOC sample config at toy size."""
    return pipeline.load(str(SAMPLE), overrides=(*OVERRIDES, *overrides))


def detector(*overrides: str, is_training: bool) -> Any:
    """With the goldens' weights, which keep activations near 1 (an untrained net's vanish)."""
    built = model_builder.build(config(*overrides).model, is_training=is_training)
    for name, variable in tf1_detection.name_map(built).items():
        variable.assign(make_weight(name, tuple(variable.shape)))
    return built


def images(batch: int, height: int = 64, width: int = 80) -> tf.Tensor:
    """[batch, height, width, 3] uint8 noise, each image another."""
    random = np.random.RandomState(1)
    return tf.constant(random.randint(0, 256, (batch, height, width, 3)), tf.uint8)


def groundtruth(*boxes_per_image: list[list[float]], num_classes: int = 3) -> dict[str, tf.Tensor]:
    """Padded ground truth; image i gets the boxes i, classes count up from 1."""
    longest = max(1, *map(len, boxes_per_image))
    boxes = np.zeros((len(boxes_per_image), longest, 4), np.float32)
    classes = np.zeros((len(boxes_per_image), longest), np.int32)
    for row, given in enumerate(boxes_per_image):
        boxes[row, : len(given)] = np.reshape(given, (-1, 4))
        classes[row, : len(given)] = np.arange(len(given)) % num_classes + 1
    return {
        Groundtruth.boxes: tf.constant(boxes),
        Groundtruth.classes: tf.constant(classes),
        Groundtruth.num_boxes: tf.constant([len(given) for given in boxes_per_image]),
    }
