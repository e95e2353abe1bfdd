"""The frozen graph: the same detections, no variables, nothing computed from constants."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.config import pipeline
from object_detection_mtl.export.export_options import ExportOptions
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
    """Enough proposals that suppression has something to do."""
    return tiny.detector(
        "model.faster_rcnn.first_stage_max_proposals=50",
        "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.min_dimension=200",
        "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.max_dimension=300",
        is_training=False,
    )


def test_photographs_alone_and_together(photograph_detector):
    plain, fast = modules(photograph_detector, dynamic_batch=True)
    images = comparing.photographs()
    for batch in (images, images[:1]):
        comparing.check_same_detections(fast.detect(batch), plain.detect(batch))


def test_files_of_different_sizes(photograph_detector):
    plain, fast = modules(photograph_detector, "encoded_image_string_tensor")
    files = [path.read_bytes() for path in comparing.PHOTOGRAPHS]
    files.append((exported.images() / "b.png").read_bytes())
    comparing.check_same_detections(fast.detect(files), plain.detect(files))


def nodes_of(definition):
    return {node.name: node for node in definition.node}


def test_nothing_hangs_on_constants_alone():
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


def test_expanded_windows_come_in_turn():
    """Crops of one window wait for the logits of the one before: all at once take more memory."""
    module = DetectionModule(tiny.detector(*ALL, is_training=False), ExportOptions())
    nodes = nodes_of(freezing.freeze_module(module).definition)
    before = {}
    for node in graph_walk.topological_order(nodes):
        read = [graph_walk.producer_name(name) for name in node.input]
        before[node.name] = set(read).union(*(before[name] for name in read))
    crops = {node.name for node in nodes.values() if node.op == "CropAndResize"}
    # The image, proposals and innermost windows, then three windows.
    assert sorted(len(before[name] & crops) for name in crops) == [0, 0, 0, 1, 2]


def test_weights_are_those_of_the_moment():
    detector = tiny.detector(is_training=False)
    module = DetectionModule(detector, ExportOptions())
    image = comparing.photographs()[:1]
    first = freezing.optimize_module(module)
    before = first.detect(image)["raw_detection_scores"].numpy()
    for variable in detector.variables:
        variable.assign(variable * 0.9)
    second = freezing.optimize_module(module)
    np.testing.assert_array_equal(first.detect(image)["raw_detection_scores"], before)
    comparing.check_same_detections(second.detect(image), module.detect(image))
    assert np.abs(second.detect(image)["raw_detection_scores"] - before).max() > 1e-3


@pytest.mark.slow
def test_two_frozen_graphs_live_in_one_process(tmp_path):
    """Their functions have names of their own, in a SavedModel that is loaded again, too."""
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
        pytest.param("faster_rcnn_resnet101_voc07", marks=pytest.mark.slow),
        pytest.param("faster_rcnn_mobilenet_v1_mtl_voc07", marks=pytest.mark.slow),
        pytest.param("faster_rcnn_inception_resnet_v2_voc07", marks=pytest.mark.slow),
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
