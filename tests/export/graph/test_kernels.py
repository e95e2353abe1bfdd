"""Convolution kernels apart from the graph, in variables."""

import numpy as np
import tensorflow as tf

from object_detection_mtl.export.export_options import BFLOAT16, ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.graph import freezing, graph_walk
from tests.export import comparing, exported

RANDOM = np.random.RandomState(0)
LARGE = RANDOM.normal(size=(3, 3, 8, 16)).astype(np.float32)
SMALL = RANDOM.normal(size=(1, 1, 16, 4)).astype(np.float32)
MATRIX = RANDOM.normal(size=(4, 256)).astype(np.float32)


def network():
    """A large kernel that something waits for, a small one, a matrix, a large constant to add."""
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, [1, 5, 6, 8], "images")
        large = tf.constant(LARGE, name="large")
        convolved = tf.nn.conv2d(images, large, 1, "SAME")
        with tf.control_dependencies([large]):
            convolved = tf.identity(convolved)
        small = tf.nn.conv2d(convolved, tf.constant(SMALL, name="small"), 1, "SAME")
        means = tf.reduce_mean(small, axis=[1, 2])
        product = tf.matmul(means, tf.constant(MATRIX, name="matrix"))
        tf.add(product, tf.constant(np.ones([8, 256], np.float32), name="added"), name="out")
    return graph_walk.prune_graph(graph.as_graph_def(), ["out:0"])


def test_only_large_kernels_are_extracted():
    definition = network()
    rest, values = freezing.extract_kernels(definition)
    assert values.keys() == {"large:0", "matrix:0"}
    np.testing.assert_array_equal(values["large:0"], LARGE)
    np.testing.assert_array_equal(values["matrix:0"], MATRIX)
    assert {n.name for n in definition.node} - {n.name for n in rest.node} == {"large", "matrix"}
    assert not [name for node in rest.node for name in node.input if name == "^large"]


def test_the_graph_with_its_kernels_computes_the_same():
    definition = network()
    rest, values = freezing.extract_kernels(definition)
    images = RANDOM.normal(size=(1, 5, 6, 8)).astype(np.float32)
    answers = []
    for graph, given in [(definition, {}), (rest, values)]:
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            tensors = {"images:0": images, **given}
            inputs = {name: tf.constant(value) for name, value in tensors.items()}
            [out] = tf.graph_util.import_graph_def(graph, inputs, ["out:0"], name="")
            answers.append(session.run(out))
    np.testing.assert_array_equal(*answers)


def test_equal_kernels_are_kept_once():
    with tf.Graph().as_default() as graph:
        images = tf.compat.v1.placeholder(tf.float32, [1, 5, 6, 8], "images")
        sides = [
            tf.nn.conv2d(images, tf.constant(kernel, name=name), 1, "SAME")
            for name, kernel in [("a", LARGE), ("b", LARGE.copy()), ("c", LARGE + 1.0)]
        ]
        tf.add_n(sides, name="out")
    rest, values = freezing.extract_kernels(graph.as_graph_def())
    assert values.keys() == {"a:0", "c:0"}
    read = [node.input[1] for node in rest.node if node.op == "Conv2D"]
    assert read == ["a", "a", "c"]


def test_an_export_keeps_folded_kernels_in_variables():
    module = DetectionModule(exported.detector(), ExportOptions(dynamic_batch=True))
    apart = freezing.optimize_module(module, kernels_as_variables=True)
    graph = apart.detect.get_concrete_function().graph
    convolutions = [o for o in graph.get_operations() if o.type.startswith("Conv2D")]
    sources = [o.inputs[1].op.type for o in convolutions]
    # Read and convolved, nothing between.
    assert set(sources) <= {"ReadVariableOp", "Const"}
    assert sources.count("ReadVariableOp") >= 13
    assert len(apart.kernels) == len(apart.variables)
    assert not apart.trainable_variables
    constants = [o for o in graph.get_operations() if o.type == "Const"]
    assert max(o.outputs[0].shape.num_elements() or 0 for o in constants) < 4096
    images = comparing.photographs()
    comparing.check_same_detections(apart.detect(images), module.detect(images))


def test_bfloat16_kernels_are_stored_in_bfloat16():
    module = DetectionModule(exported.detector(), ExportOptions(dynamic_batch=True))
    float32 = freezing.optimize_module(module, kernels_as_variables=True)
    bfloat16 = freezing.optimize_module(module, BFLOAT16, kernels_as_variables=True)

    def size(module):
        return sum(v.shape.num_elements() * v.dtype.size for v in module.variables)

    assert 0.5 < size(bfloat16) / size(float32) < 0.55
