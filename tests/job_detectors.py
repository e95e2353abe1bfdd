"""Detectors and checkpoints for tests of `jobs`."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from object_detection_mtl import jobs
from tests.training.tiny import tiny_detector

KEY = "model/{}/.ATTRIBUTES/VARIABLE_VALUE"
BIASES = "SecondStageBoxPredictor/ClassPredictor/biases"


def patch_builder(monkeypatch, make_detector) -> None:
    """Build a detector of the tests instead of the config's MobileNet."""
    monkeypatch.setattr(jobs.model_builder, "build", make_detector)


def tiny(config, is_training=False):
    """Return the smallest detector."""
    return tiny_detector(config.faster_rcnn.num_classes, is_training=is_training)


def weights_of(prefix: str) -> dict[str, np.ndarray]:
    """Return the detector's variables in a checkpoint."""
    reader = tf.train.load_checkpoint(prefix)
    names = [name for name in reader.get_variable_to_shape_map() if name.startswith("model/")]
    return {name: reader.get_tensor(name) for name in names}
