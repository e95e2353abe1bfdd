"""Program for an environment with the TF Object Detection API: write a model and its outputs.

    python peer_model.py CONFIG OUTPUT_DIR [CHECKPOINT]

OUTPUT_DIR gets `peer.npz` with images, ground truth, detections and losses, of the weights of
CHECKPOINT or, without one, of random weights, which it gets as a TF2 checkpoint, `ckpt-1`.
"""

from __future__ import annotations

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from object_detection.builders import model_builder
from object_detection.protos import pipeline_pb2

IMAGES = (2, 120, 160, 3)
BORDER = 5e-7


def randomize(variables, random) -> None:
    """Give every variable random values that keep the activations of a deep network bounded."""
    for variable in variables:
        shape = variable.shape
        name = variable.name
        if "gamma" in name:
            value = random.uniform(0.2, 0.6, shape)
        elif "moving_variance" in name:
            value = random.uniform(0.5, 1.5, shape)
        elif "kernel" in name:
            value = random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape)
        else:
            value = random.normal(0, 0.1, shape)
        variable.assign(value.astype(np.float32))


def read_the_last_row() -> None:
    """Let crops end just before the border of the feature map.

    Whether `crop_and_resize` reads the last row or zeros for a box that ends at the border depends
    on rounding; our crops always read it (docs/reference/differences.md).
    """
    crop_and_resize = tf.compat.v1.image.crop_and_resize

    def crop(image, boxes, *arguments, **options):
        return crop_and_resize(image, tf.minimum(boxes, 1 - BORDER), *arguments, **options)

    tf.compat.v1.image.crop_and_resize = crop


def main(config_path: str, output_dir: str, checkpoint: str = "") -> None:
    """Write the outputs, and the checkpoint if none is given."""
    read_the_last_row()
    random = np.random.RandomState(0)
    config = pipeline_pb2.TrainEvalPipelineConfig()
    with open(config_path) as file:
        text_format.Merge(file.read(), config)
    images = random.randint(0, 256, IMAGES).astype(np.float32)
    boxes = random.uniform(0, 0.5, (2, 3, 4)).astype(np.float32)
    boxes[..., 2:] += 0.45
    classes = random.randint(0, config.model.faster_rcnn.num_classes, (2, 3))
    model = model_builder.build(config.model, is_training=False)
    inputs, shapes = model.preprocess(tf.constant(images))
    model.postprocess(model.predict(inputs, shapes), shapes)
    if checkpoint:
        restored = tf.train.Checkpoint(model=model).restore(checkpoint)
        restored.assert_existing_objects_matched().expect_partial()
    else:
        randomize([*model.trainable_variables, *moving_statistics(model)], random)
        tf.train.Checkpoint(model=model).save(os.path.join(output_dir, "ckpt"))
    predictions = model.predict(inputs, shapes)
    detections = model.postprocess(predictions, shapes)
    model.provide_groundtruth(
        groundtruth_boxes_list=[tf.constant(found) for found in boxes],
        groundtruth_classes_list=[
            tf.one_hot(found, config.model.faster_rcnn.num_classes) for found in classes
        ],
    )
    losses = model.loss(predictions, shapes)
    arrays = {"images": images, "boxes": boxes, "classes": classes}
    arrays |= {f"detections/{key}": value.numpy() for key, value in detections.items()}
    arrays |= {f"losses/{key}": value.numpy() for key, value in losses.items()}
    np.savez(os.path.join(output_dir, "peer.npz"), **arrays)


def moving_statistics(model):
    """Return the variables of the model that are not trained."""
    trained = {id(variable) for variable in model.trainable_variables}
    return [v for v in model.variables if id(v) not in trained and v.dtype == tf.float32]


if __name__ == "__main__":
    main(*sys.argv[1:])
