"""A small MobileNet detector and its images, for tests of the API."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from object_detection_mtl.api import config_loading

NAMES = {1: "square", 2: "stripe"}
SMALL = (
    "model.faster_rcnn.feature_extractor.depth_multiplier=0.25",
    "model.faster_rcnn.first_stage_box_predictor_depth=8",
    "model.faster_rcnn.first_stage_max_proposals=8",
    "model.faster_rcnn.second_stage_batch_size=4",
)


def config(*overrides: str, **settings):
    """Return the sample of the synthetic dataset at toy size."""
    settings = {"num_classes": 2, "min_dimension": 64, "max_dimension": 96, **settings}
    name = "faster_rcnn_mobilenet_v1_synthetic"
    return config_loading.load_config(name, [*SMALL, *overrides], **settings)


def image(number: int = 0, height: int = 64, width: int = 80) -> np.ndarray:
    """Return an image of noise, [height, width, 3] uint8."""
    return np.random.RandomState(number).randint(0, 256, (height, width, 3)).astype(np.uint8)


def save_config(path: Path, *overrides: str) -> Path:
    """Write the configuration as text."""
    from object_detection_mtl.config import pipeline

    pipeline.save(config(*overrides), path)
    return path


def write_run(directory: Path) -> Path:
    """Write the files of a training at step 3 with random weights: checkpoint, config, names."""
    import tensorflow as tf

    from object_detection_mtl.api import detector_building
    from object_detection_mtl.checkpoints import native
    from object_detection_mtl.dataset_tools import dataset_label_map

    detector = detector_building.detector_of_config(config())
    directory.mkdir()
    save_config(directory / "pipeline.config")
    labels = {name: number for number, name in NAMES.items()}
    (directory / "label_map.pbtxt").write_text(dataset_label_map.to_text(labels))
    checkpoint = tf.train.Checkpoint(
        step=tf.Variable(3, dtype=tf.int64),
        model=native.tree(native.named_variables(detector.model)),
    )
    tf.train.CheckpointManager(checkpoint, str(directory), max_to_keep=1).save(checkpoint_number=3)
    return directory


def example(number: int = 0) -> dict:
    """Return an example for training or evaluation."""
    boxes = np.array([[5, 10, 40, 60]], np.float32)
    labels = np.array([1 + number % 2])
    return {"image": image(number), "boxes": boxes, "labels": labels, "image_id": str(number)}
