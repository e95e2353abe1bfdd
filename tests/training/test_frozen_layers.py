"""Frozen layers: no gradient is computed for them, and none of their activations is kept."""

from unittest import mock

import pytest
import tensorflow as tf

from object_detection_mtl.backbones import resnet_v1
from object_detection_mtl.builders import train_config_builder
from object_detection_mtl.fields import Batch
from object_detection_mtl.training.training_step import TrainingStep
from tests.builders.test_train_config_builder import parse
from tests.models import test_auxiliary_stage as auxiliary
from tests.models import tiny as small
from tests.training import tiny

BACKWARD = "gradient_tape/"


def operations_of(detector, settings, batch):
    """Return the operations of losses and gradients of a step."""
    model = train_config_builder.build_model(parse(settings), detector)
    optimizer = mock.Mock()  # It changes no weights.
    step = TrainingStep(detector, optimizer, list(model.trained.values()), model.step_options)
    function = tf.function(lambda: step(batch, tf.constant(0, tf.int64)), autograph=False)
    operations = function.get_concrete_function().graph.get_operations()
    assert optimizer.mock_calls
    return operations


def layers_with_gradients(operations):
    """Return names of the operations of the backward pass, and of those whose outputs it reads."""
    backward = [operation for operation in operations if operation.name.startswith(BACKWARD)]
    kept = {tensor.op.name for operation in backward for tensor in operation.inputs}
    assert len(backward) > 20
    return [*(operation.name for operation in backward), *kept]


@pytest.fixture
def few_units(monkeypatch):
    """Let ResNet-50 have one unit in each block."""
    monkeypatch.setitem(resnet_v1.UNITS, 50, (1, 1, 1, 1))


@pytest.mark.parametrize("frozen", [1, 2])
def test_gradients_of_a_backbone_begin_after_its_frozen_blocks(frozen, few_units):
    stage1 = resnet_v1.build(num_layers=50, frozen_blocks=frozen).stage1
    variables = [variable.value for variable in stage1.trainable_variables]

    @tf.function(autograph=False)
    def gradients(images):
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(variables)
            total = tf.reduce_sum(stage1(images, training=True))
        return tape.gradient(total, variables)

    graph = gradients.get_concrete_function(tf.TensorSpec([1, 64, 64, 3])).graph
    names = " ".join(layers_with_gradients(graph.get_operations()))
    found = {number for number in (1, 2, 3) if f"/block{number}.unit_1.bottleneck_v1.conv" in names}
    assert found == set(range(frozen + 1, 4))
    # The output of the last frozen block is the input of the first trained one.
    assert f"block{frozen}.unit_1.bottleneck_v1.activation" in names
    assert "/conv1" not in names


@pytest.mark.slow
def test_a_frozen_first_stage_has_no_gradients_and_no_gradient_of_crops(few_units):
    extractor = "model.faster_rcnn.feature_extractor"
    detector = small.detector(
        f"{extractor}.type=faster_rcnn_resnet50", f"{extractor}.freeze_layer=block3",
        is_training=True,
    )  # fmt: skip
    inputs, shapes = detector.preprocess(small.images(1))
    batch = {**auxiliary.groundtruth(0), Batch.inputs: inputs, Batch.true_image_shapes: shapes}
    operations = operations_of(detector, "", batch)
    names = layers_with_gradients(operations)
    inside = [name for name in names if "stage1" in name]
    # Only the shared features, which the first trained layers read.
    assert {name.split("/")[1].split(".")[-1].split("_")[0] for name in inside} == {"activation"}
    assert "SparseTensorDenseMatMul" not in {operation.type for operation in operations}
    assert any("block4" in name for name in names)


@pytest.mark.long
def test_variables_that_the_config_freezes_have_no_gradients():
    batch = {key: value for key, value in tiny.batch(0).items() if value.dtype != tf.string}
    frozen = 'freeze_variables: "FirstStageFeatureExtractor/"'
    operations = operations_of(tiny.tiny_detector(), frozen, batch)
    names = [op.name for op in operations if op.type == "Conv2DBackpropFilter"]
    assert len(names) == 4  # Three of the first stage's heads, one of stage 2.
    assert not any("Conv2d_0" in name for name in names)
