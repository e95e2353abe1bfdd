"""Cast to bfloat16: which parts of a graph, and detections close to float32."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.graph import bfloat16_convolutions, freezing
from tests.export import comparing
from tests.models import tiny


def network(images):
    """Build a feature map, a residual block, a crop-like reader of the map, and a head."""
    random = np.random.RandomState(0)

    def convolve(inputs, filters, name):
        kernel = random.normal(0, 0.3, (3, 3, inputs.shape[-1], filters)).astype(np.float32)
        outputs = tf.nn.conv2d(inputs, tf.constant(kernel), 1, "SAME", name=name)
        return tf.nn.bias_add(outputs, tf.constant(np.ones(filters, np.float32)), name=f"{name}_b")

    stem = tf.nn.relu(convolve(images * 2.0, 8, "stem"), name="stem_map")
    block = tf.nn.relu(tf.add(stem, convolve(stem, 8, "block"), name="sum"), name="block_map")
    mean = tf.reduce_mean(block, axis=[1, 2], name="mean")
    boxes = tf.multiply(convolve(block, 4, "head"), 0.5, name="boxes")
    return tf.identity(mean, name="out_mean"), tf.identity(boxes, name="out_boxes")


@pytest.fixture(scope="module")
def graphs():
    graph = tf.Graph()
    with graph.as_default():
        network(tf.compat.v1.placeholder(tf.float32, [1, 6, 7, 3], "images"))
    original = graph.as_graph_def()
    return original, bfloat16_convolutions.cast_convolutions(
        original, ["out_mean:0", "out_boxes:0"]
    )


def outputs_of(definition):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        outputs = tf.graph_util.import_graph_def(
            definition, return_elements=["out_mean:0", "out_boxes:0"], name=""
        )
        images = np.random.RandomState(1).uniform(-1, 1, (1, 6, 7, 3))
        return session.run(outputs, {"images:0": images})


def test_feature_maps_are_bfloat16_and_their_readers_are_not(graphs):
    original, cast = graphs
    types = {n.name: tf.as_dtype(n.attr["T"].type) for n in cast.node if "T" in n.attr}
    before = [node.name for node in original.node]
    assert {name for name in types if types[name] == tf.bfloat16} == {
        *["stem", "stem_b", "stem_map", "block", "block_b", "sum", "block_map"]
    }
    added = {node.name: node.op for node in cast.node if node.name not in before}
    assert sorted(added.values()) == ["Cast"] * 2 + ["Const"] * 4  # in, out, 2 kernels and biases
    assert added["block_map/float32"] == "Cast"


def test_outputs_stay_float32_and_close(graphs):
    for actual, expected in zip(outputs_of(graphs[1]), outputs_of(graphs[0]), strict=True):
        assert actual.dtype == np.float32
        # Two layers, each rounding its inputs and outputs to 2^-9 of their size.
        np.testing.assert_allclose(actual, expected, atol=0.02 * np.abs(expected).max())
        assert np.abs(actual - expected).max() > 0


@pytest.mark.slow
def test_a_detector_gives_similar_detections():
    # Scores of random weights hardly differ: suppression would choose between them by chance.
    detector = tiny.detector(
        "model.faster_rcnn.first_stage_max_proposals=400",
        "model.faster_rcnn.first_stage_nms_iou_threshold=1.0",
        "model.faster_rcnn.second_stage_post_processing.batch_non_max_suppression.iou_threshold=1",
        is_training=False,
    )
    module = DetectionModule(detector, ExportOptions(dynamic_batch=True))
    frozen = freezing.optimize_module(module, "bfloat16")
    operations = frozen.detect.get_concrete_function().graph.get_operations()
    convolutions = [o.outputs[0].dtype for o in operations if o.type == "Conv2D"]
    assert convolutions.count(tf.bfloat16) > 10
    assert convolutions.count(tf.float32) == 2
    depthwise = [o for o in operations if o.type == "DepthwiseConv2dNative"]
    assert {o.outputs[0].dtype for o in depthwise} == {tf.float32}
    suppressions = [o for o in operations if o.type == "CombinedNonMaxSuppression"]
    assert {i.dtype for o in suppressions for i in o.inputs[:2]} == {tf.float32}
    images = comparing.photographs()
    actual, expected = frozen.detect(images), module.detect(images)
    for name, value in expected.items():
        assert (actual[name].dtype, actual[name].shape) == (tf.float32, value.shape), name
    for image in range(2):
        check_similar(actual, expected, image)


def check_similar(actual, expected, image, *, places=10):
    """Check that each of the best detections has a similar one: class, box, score."""
    for place in range(places):
        box, score, class_ = (
            expected[f"detection_{name}"][image, place].numpy()
            for name in ("boxes", "scores", "classes")
        )
        distance = np.abs(actual["detection_boxes"][image] - box).max(axis=1)
        distance[actual["detection_classes"][image].numpy() != class_] = np.inf
        nearest = distance.argmin()
        assert distance[nearest] < 0.02
        np.testing.assert_allclose(actual["detection_scores"][image, nearest], score, atol=0.02)
