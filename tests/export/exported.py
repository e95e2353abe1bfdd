"""A trained run of toy size and its exports, made once for all tests."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from object_detection_mtl import jobs
from object_detection_mtl.checkpoints import native
from object_detection_mtl.config import pipeline
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.export_options import ExportOptions
from tests.models import tiny

NAMES = {1: "red blood cell", 2: "white", 3: "platelet"}
LABEL_MAP = "".join(
    f'item {{ id: {number} name: "{name.split()[0]}" display_name: "{name}" }}\n'
    for number, name in NAMES.items()
)
MAX_DETECTIONS = 30  # more than 3 classes of 8 proposals: there is padding
NUM_PROPOSALS = 8
IMAGE_SHAPES = [(64, 80), (50, 40), (30, 90)]

_directory = tempfile.TemporaryDirectory(prefix="exported")
ROOT = Path(_directory.name)
_NMS = "model.faster_rcnn.second_stage_post_processing.batch_non_max_suppression"
_OVERRIDES = (
    f"{_NMS}.max_total_detections={MAX_DETECTIONS}",
    f"{_NMS}.max_detections_per_class={MAX_DETECTIONS}",
)
LABEL_MAP_PATH = ROOT / "label_map.pbtxt"
CONFIG_PATH = ROOT / "trained.config"
MODEL_DIR = ROOT / "model_dir"


@functools.cache
def config() -> Any:
    """Return the run's config, with an existing label map."""
    LABEL_MAP_PATH.write_text(LABEL_MAP)
    made = tiny.config(
        *_OVERRIDES,
        f"train_input_reader.label_map_path={LABEL_MAP_PATH}",
        f"eval_input_reader.label_map_path={LABEL_MAP_PATH}",
    )
    pipeline.save(made, CONFIG_PATH)
    return made


@functools.cache
def detector() -> Any:
    """Return the detector of the run, for inference."""
    return tiny.detector(*_OVERRIDES, is_training=False)


@functools.cache
def run() -> Path:
    """Return a model directory with one checkpoint, as after training, and its config."""
    config()
    checkpoint = tf.train.Checkpoint(
        step=tf.Variable(7, dtype=tf.int64),
        model=native.tree(native.named_variables(detector())),
    )
    tf.train.CheckpointManager(checkpoint, str(MODEL_DIR), max_to_keep=1).save()
    return MODEL_DIR


@functools.cache
def export(input_type: str, **more: Any) -> Path:
    """Export the run for an input type; for image_tensor by `jobs.export`, for others faster.

    `more`: other fields of ExportOptions.
    """
    options = ExportOptions(input_type, **more)
    output = ROOT / "_".join(
        map(str, ["exported", input_type, *(f"{key}={value}" for key, value in more.items())])
    )
    if input_type == "image_tensor":
        jobs.export(config(), str(run()), str(output), options=options)
    else:
        text = pipeline.to_text(config())
        saved_model.export_detector(detector(), str(output), config_text=text, options=options)
    return output


@functools.cache
def loaded(input_type: str, **more: Any) -> Any:
    return tf.saved_model.load(str(export(input_type, **more) / "saved_model"))


@functools.cache
def images() -> Path:
    """Return a directory with images of IMAGE_SHAPES: a.jpg, b.png, c.bmp."""
    directory = ROOT / "images"
    directory.mkdir()
    random = np.random.RandomState(4)
    for name, shape in zip(["a.jpg", "b.png", "c.bmp"], IMAGE_SHAPES, strict=True):
        Image.fromarray(random.randint(0, 256, (*shape, 3)).astype(np.uint8)).save(directory / name)
    return directory
