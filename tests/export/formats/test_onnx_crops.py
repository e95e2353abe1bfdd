"""Crops of regions in onnxruntime: those of `tf.image.crop_and_resize`."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.export.formats import onnx_conversion
from object_detection_mtl.ops import roi

REASON = "needs the extra onnx"


class Module:
    """A function in the form in which detectors are converted."""

    def __init__(self, function, *specs):
        self.detect = tf.function(function, input_signature=specs)


def cropped(features, boxes, crop_size):
    """onnxruntime's crops and the kinds of operations in the model."""
    pytest.importorskip("tf2onnx", reason=REASON)
    onnxruntime = pytest.importorskip("onnxruntime", reason=REASON)

    def crop(features, boxes):
        return {"crops": roi.crop_and_resize(features, boxes, crop_size)}

    specs = [
        tf.TensorSpec([None, None, None, features.shape[-1]], name="features"),
        tf.TensorSpec([None, None, 4], name="boxes"),
    ]
    model = onnx_conversion.convert_module(Module(crop, *specs))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    [crops] = session.run(["crops"], {"features": features, "boxes": boxes})
    return crops, {node.op_type for node in model.graph.node}


@pytest.mark.parametrize("crop_size", [(7, 7), (3, 1), (1, 4)])
def test_crops(crop_size):
    """Boxes inside, beyond the edges, reversed, without extent and of the whole map."""
    random = np.random.RandomState(0)
    features = random.standard_normal([2, 11, 9, 3]).astype(np.float32)
    special = [[0, 0, 1, 1], [1, 1, 0, 0], [0.5, 0.5, 0.5, 0.5], [-1, -1, 2, 2], [2, 2, 3, 3]]
    boxes = np.concatenate(
        [random.uniform(-0.3, 1.3, (2, 40, 4)), np.tile(special, (2, 1, 1))], axis=1
    ).astype(np.float32)
    crops, kinds = cropped(features, boxes, crop_size)
    expected = roi.crop_and_resize(tf.constant(features), tf.constant(boxes), crop_size).numpy()
    np.testing.assert_allclose(crops, expected, atol=2e-5)
    outside = expected == 0.0
    assert 0 < outside.mean() < 0.5
    np.testing.assert_array_equal(crops[outside], 0.0)
    assert "RoiAlign" in kinds
    assert "Loop" not in kinds


def test_a_crop_by_hand():
    """Three samples along a row of 0, 1, 2, 3: at 0.5, 1.5 and 2.5."""
    features = np.arange(4, dtype=np.float32).reshape([1, 1, 4, 1])
    boxes = np.float32([[[0.0, 0.5 / 3, 0.0, 2.5 / 3]]])
    crops, _ = cropped(features, boxes, (1, 3))
    np.testing.assert_allclose(crops.ravel(), [0.5, 1.5, 2.5], atol=1e-6)
