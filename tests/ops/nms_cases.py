"""Boxes, calls and implementations of suppression."""

import contextlib

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.ops import lowering, nms

LOWERINGS = {
    "kernel": contextlib.nullcontext,
    "loop": lowering.for_xla,
    "class by class": lowering.for_onnx,
}


EVERY_WAY = pytest.mark.usefixtures("every_way")


# Three clusters: rows 0-2, rows 3-4 and row 5.
CLUSTERS = np.array(
    [
        [0, 0, 1, 1],
        [0, 0.1, 1, 1.1],
        [0, -0.1, 1, 0.9],
        [0, 10, 1, 11],
        [0, 10.1, 1, 11.1],
        [0, 100, 1, 101],
    ],
    np.float32,
)


CLUSTER_SCORES = np.array([0.9, 0.75, 0.6, 0.95, 0.5, 0.3], np.float32)


def suppress(boxes, scores, **arguments):
    """Suppression of one image's boxes [N, 4] or [N, K, 4] with scores [N] or [N, K]."""
    boxes, scores = np.asarray(boxes, np.float32), np.asarray(scores, np.float32)
    boxes = boxes.reshape([1, len(boxes), -1, 4])
    scores = scores.reshape([1, len(scores), -1])
    arguments = {
        "score_threshold": 0.0,
        "iou_threshold": 0.5,
        "max_size_per_class": 10,
        "max_total_size": 10,
        **arguments,
    }
    return nms.batch_multiclass_nms(tf.constant(boxes), tf.constant(scores), **arguments)


def kept(result, image=0):
    """Rows and classes of one image's detections, in order."""
    number = int(result.num_detections[image])
    return list(
        zip(
            result.indices[image, :number].numpy().tolist(),
            result.classes[image, :number].numpy().astype(int).tolist(),
            strict=True,
        )
    )
