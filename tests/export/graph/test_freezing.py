"""Frozen graphs: equal detections, constants folded, kernels in variables."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.config import pipeline
from object_detection_mtl.export.export_options import BFLOAT16, ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.graph import freezing, graph_walk
from tests.export import comparing, exported
from tests.golden.model_runner import SAMPLES
from tests.golden.weight_rule import make_weight
from tests.models import tiny
from tests.models.test_auxiliary_stage import ALL


def modules(detector, *arguments, **options):
    plain = DetectionModule(detector, ExportOptions(*arguments, **options))
    return plain, freezing.optimize_module(plain)


@pytest.fixture(scope="module")
def photograph_detector():
    """Return a detector with enough proposals for suppression."""
    return tiny.detector(
        "model.faster_rcnn.first_stage_max_proposals=50",
        "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.min_dimension=200",
        "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.max_dimension=300",
        is_training=False,
    )


@pytest.mark.slow
def test_detections_of_photographs_equal_those_of_the_plain_graph(photograph_detector):
    plain, fast = modules(photograph_detector, dynamic_batch=True)
    images = comparing.photographs()
    for batch in (images, images[:1]):
        comparing.check_same_detections(fast.detect(batch), plain.detect(batch))


@pytest.mark.slow
def test_files_of_different_sizes(photograph_detector):
    plain, fast = modules(photograph_detector, "encoded_image_string_tensor")
    files = [path.read_bytes() for path in comparing.PHOTOGRAPHS]
    files.append((exported.images() / "b.png").read_bytes())
    comparing.check_same_detections(fast.detect(files), plain.detect(files))


def nodes_of(definition):
    return {node.name: node for node in definition.node}


def test_constant_expressions_are_folded():
    module = DetectionModule(exported.detector(), ExportOptions())
    definition = freezing.freeze_module(module).definition
    nodes = nodes_of(definition)
    assert not [
        node.name for node in nodes.values() if "Variable" in node.op or "Handle" in node.op
    ]
    convolutions = [n for n in nodes.values() if n.op in ("Conv2D", "DepthwiseConv2dNative")]
    assert len(convolutions) >= 27  # MobileNet's and the heads'
    for node in convolutions:
        assert nodes[node.input[1].split(":")[0]].op == "Const", node.name
    assert not [node.name for node in nodes.values() if node.op == "Rsqrt"]


def test_tables_of_the_process_stay_out_of_the_graph(caplog):
    pairs = tf.lookup.KeyValueTensorInitializer(["a"], [1])
    table = tf.lookup.StaticHashTable(pairs, 0)

    class Module(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([], tf.float32)], autograph=False)
        def detect(self, value):
            return {"sum": value + 1.0}

    tf.get_logger().addHandler(caplog.handler)
    try:
        freezing.freeze_module(Module())
    finally:
        tf.get_logger().removeHandler(caplog.handler)
    assert int(table.lookup(tf.constant("a"))) == 1
    assert not caplog.records


@pytest.mark.slow
def test_expanded_windows_run_one_after_the_other():
    """Crops of a window wait for the logits of the window before, to save memory."""
    module = DetectionModule(tiny.detector(*ALL, is_training=False), ExportOptions())
    nodes = nodes_of(freezing.freeze_module(module).definition)
    before = {}
    for node in graph_walk.topological_order(nodes):
        read = [graph_walk.producer_name(name) for name in node.input]
        before[node.name] = set(read).union(*(before[name] for name in read))
    crops = {node.name for node in nodes.values() if node.op == "CropAndResize"}
    # The image, proposals and innermost windows, then three windows.
    assert sorted(len(before[name] & crops) for name in crops) == [0, 0, 0, 1, 2]


@pytest.mark.slow
def test_a_frozen_graph_has_the_weights_at_its_creation():
    detector = tiny.detector(is_training=False)
    module = DetectionModule(detector, ExportOptions())
    image = comparing.photographs()[:1]
    first = freezing.optimize_module(module)
    before = first.detect(image)["raw_detection_scores"].numpy()
    for variable in detector.variables:
        variable.assign(variable * 0.9)
    second = freezing.optimize_module(module)
    # To the last bit. On a loaded machine threads may sum in another order in one call.
    again = (first.detect(image)["raw_detection_scores"].numpy() for _ in range(5))
    assert any(np.array_equal(scores, before) for scores in again)
    comparing.check_same_detections(second.detect(image), module.detect(image))
    assert np.abs(second.detect(image)["raw_detection_scores"] - before).max() > 1e-3


@pytest.mark.slow
def test_two_frozen_graphs_in_one_process(tmp_path):
    """Their functions have unique names, also in a SavedModel that is loaded again."""
    _, fast = modules(exported.detector(), "encoded_image_string_tensor")
    tf.saved_model.save(fast, str(tmp_path), signatures=fast.detect.get_concrete_function())
    files = [(exported.images() / "a.jpg").read_bytes()]
    loaded = tf.saved_model.load(str(tmp_path))
    _, again = modules(exported.detector(), "encoded_image_string_tensor")
    for detect in (loaded, again.detect):
        comparing.check_same_detections(detect(tf.constant(files)), fast.detect(files))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("rfcn_mobilenet_v1_mtl_bccd", marks=pytest.mark.slow),
        pytest.param("rfcn_resnet101_mtl_voc07", marks=pytest.mark.long),
        pytest.param("faster_rcnn_resnet101_voc07", marks=pytest.mark.long),
        pytest.param("faster_rcnn_mobilenet_v1_mtl_voc07", marks=pytest.mark.slow),
        pytest.param("faster_rcnn_inception_resnet_v2_voc07", marks=pytest.mark.long),
    ],
)
def test_other_architectures(name):
    resizer = "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer"
    config = pipeline.load(
        str(SAMPLES / f"{name}.config"),
        [
            "model.faster_rcnn.first_stage_max_proposals=50",
            "model.faster_rcnn.second_stage_batch_size=32",
            f"{resizer}.min_dimension=200",
            f"{resizer}.max_dimension=300",
        ],
    )
    detector = model_builder.build(config.model, is_training=False)
    for variable_name, variable in tf1_detection.name_map(detector).items():
        variable.assign(make_weight(variable_name, tuple(variable.shape)))
    plain, fast = modules(detector, dynamic_batch=True)
    images = comparing.photographs()
    comparing.check_same_detections(fast.detect(images), plain.detect(images))


RANDOM = np.random.RandomState(0)
LARGE = RANDOM.normal(size=(3, 3, 8, 16)).astype(np.float32)
SMALL = RANDOM.normal(size=(1, 1, 16, 4)).astype(np.float32)
MATRIX = RANDOM.normal(size=(4, 256)).astype(np.float32)


def network():
    """Return a graph of a large kernel, also a control input, a small one, a matrix, an addend."""
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


@pytest.mark.slow
def test_an_export_keeps_folded_kernels_in_variables():
    module = DetectionModule(exported.detector(), ExportOptions(dynamic_batch=True))
    apart = freezing.optimize_module(module, kernels_as_variables=True)
    graph = apart.detect.get_concrete_function().graph
    convolutions = [o for o in graph.get_operations() if o.type.startswith("Conv2D")]
    sources = [o.inputs[1].op.type for o in convolutions]
    # Kernels are read and convolved, with nothing between.
    assert set(sources) <= {"ReadVariableOp", "Const"}
    assert sources.count("ReadVariableOp") >= 13
    assert len(apart.kernels) == len(apart.variables)
    assert not apart.trainable_variables
    constants = [o for o in graph.get_operations() if o.type == "Const"]
    assert max(o.outputs[0].shape.num_elements() or 0 for o in constants) < 4096
    images = comparing.photographs()
    comparing.check_same_detections(apart.detect(images), module.detect(images))


@pytest.mark.slow
def test_bfloat16_kernels_are_stored_in_bfloat16():
    module = DetectionModule(exported.detector(), ExportOptions(dynamic_batch=True))
    float32 = freezing.optimize_module(module, kernels_as_variables=True)
    bfloat16 = freezing.optimize_module(module, BFLOAT16, kernels_as_variables=True)

    def size(module):
        return sum(v.shape.num_elements() * v.dtype.size for v in module.variables)

    assert 0.5 < size(bfloat16) / size(float32) < 0.55
