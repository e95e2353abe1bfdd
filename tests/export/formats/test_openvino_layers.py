"""Layers that may be int8, in small graphs with the structures of a detector."""

import numpy as np
import pytest

openvino = pytest.importorskip("openvino", reason="needs the extra openvino")

from openvino import opset13 as ops  # noqa: E402

from object_detection_mtl.export.formats import openvino_layers  # noqa: E402

DEPTH = 4


def convolution(values, name, depth=DEPTH):
    weights = ops.constant(np.ones([depth, DEPTH, 1, 1], np.float32))
    made = ops.convolution(values, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    made.set_friendly_name(name)
    return made


def product(values, name, weights=None):
    if weights is None:
        weights = ops.constant(np.ones([DEPTH, DEPTH], np.float32))
    made = ops.matmul(values, weights, False, False)
    made.set_friendly_name(name)
    return made


def named(node, name):
    node.set_friendly_name(name)
    return node


def detector_model():
    """Return a graph with the parts of a two-stage detector, its layers named by their part."""
    image = ops.parameter([1, DEPTH, 8, 8], np.float32, name="image")
    normalized = named(ops.subtract(image, ops.constant(np.float32(127.5))), "normalized")
    first = named(ops.relu(convolution(normalized, "backbone")), "first map")
    # A residual block, whose last convolution is linear.
    linear = convolution(named(ops.relu(convolution(first, "block")), "block map"), "linear")
    features = named(ops.relu(named(ops.add(first, linear), "sum")), "features")
    shared = ops.relu(convolution(features, "rpn"))
    boxes, logits = (
        ops.reshape(
            ops.transpose(convolution(shared, name), [0, 2, 3, 1]), [-1, DEPTH], special_zero=False
        )
        for name in ("rpn boxes", "rpn scores")
    )
    decoded = named(ops.multiply(boxes, ops.constant(np.float32(0.1))), "decoded boxes")
    rois = ops.concat([ops.constant(np.zeros([64, 1], np.float32)), decoded], 1)
    crops = ops.roi_pooling(features, rois, np.array([2, 2]), np.float32(1), "bilinear")
    pooled = ops.max_pool(crops, [1, 1], [1, 1], [0, 0], [0, 0], [1, 1])
    inside = convolution(named(pooled, "pooled crops").output(0), "stage 2")
    region = named(ops.relu(convolution(inside, "last of stage 2")), "region")
    mean = named(ops.reduce_mean(region, [2, 3], False), "mean")
    # The refining layer reads logits, which are no feature map.
    refined = product(ops.reshape(product(mean, "class"), [-1, DEPTH], False), "refining layer")
    not_a_layer = product(mean, "product of two results", ops.transpose(refined, [1, 0]))
    return openvino.Model([ops.softmax(logits, 1), not_a_layer], [image])


def test_inner_layers_and_heads():
    chosen = openvino_layers.choose_layers(detector_model())
    of_backbone = {"backbone", "block", "linear"}
    assert set(chosen.inner) == of_backbone | {"rpn", "stage 2", "last of stage 2"}
    assert set(chosen.heads) == {"rpn boxes", "rpn scores", "class", "refining layer"}


def test_operations_between_layers_may_be_int8_and_others_not():
    kept = openvino_layers.choose_layers(detector_model()).kept
    assert not {"first map", "block map", "sum", "features", "pooled crops"} & set(kept)
    assert {"normalized", "decoded boxes", "mean", "product of two results", "region"} <= set(kept)


def test_names_become_unique():
    model = detector_model()
    for operation in model.get_ordered_ops():
        operation.set_friendly_name("same")
    openvino_layers.make_names_unique(model)
    names = [operation.get_friendly_name() for operation in model.get_ordered_ops()]
    assert len(set(names)) == len(names)
    assert names[:2] == ["same", "same/1"]


def test_layers_are_counted_by_their_weights():
    image = ops.parameter([1, DEPTH, 8, 8], np.float32, name="image")
    stored = ops.constant(np.ones([DEPTH, DEPTH, 1, 1], np.int8))
    weights = ops.multiply(ops.convert(stored, "f32"), ops.constant(np.float32(0.1)))
    int8 = ops.convolution(image, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    model = openvino.Model([convolution(int8, "head")], [image])
    assert openvino_layers.count_layers(model) == (1, 1)
