"""Operations of a training step that run on the CPU of a machine with a GPU, each with a reason.

TensorFlow's Linux wheel lists the kernels of GPUs on machines without one, too.
"""

import functools

import pytest
import tensorflow as tf
from tensorflow.python.framework import kernels

from object_detection_mtl.fields import Batch
from object_detection_mtl.training import mixed_precision
from object_detection_mtl.training.optimizers import Momentum
from object_detection_mtl.training.training_step import StepOptions, TrainingStep
from tests.models import test_auxiliary_stage as auxiliary
from tests.models import tiny as small
from tests.training import tiny
from tests.training.linear import one_device

pytestmark = pytest.mark.skipif(
    not tf.test.is_built_with_cuda(), reason="this TensorFlow has no kernels for GPUs"
)
SUPPRESSION = "CombinedNonMaxSuppression"
# Operation without a GPU kernel in TensorFlow 2.20 -> why a step has it.
CPU_ONLY = {
    SUPPRESSION: "suppression of all images at once; it reads at most a few "
    "thousand boxes and no gradient passes through it",
    "RaggedRange": "indices of the sparse weights of R-FCN's bins; they have no gradient",
}


def has_gpu_kernel(operation):
    """Return whether a kernel for GPUs has the types of the operation."""
    attributes = operation.node_def.attr

    def takes(kernel):
        return all(
            attributes[constraint.name].type in constraint.allowed_values.list.type
            for constraint in kernel.constraint
            if constraint.allowed_values.list.type
        )

    # DEFAULT: on any device, for values in the memory of the CPU such as shapes.
    return any(
        kernel.device_type in ("GPU", "DEFAULT") and takes(kernel)
        for kernel in kernels.get_registered_kernels_for_op(operation.type).kernel
    )


def with_all_tasks(*overrides, bfloat16=False):
    """Return a small MobileNet detector, and a batch."""
    options = (*auxiliary.ALL, *auxiliary.WEIGHTS, *overrides)
    detector = small.detector(small.FEW_CHANNELS, *options, is_training=True)
    if bfloat16:
        mixed_precision.use_bfloat16(detector)
    inputs, shapes = detector.preprocess(small.images(2))
    batch = {Batch.inputs: inputs, Batch.true_image_shapes: shapes}
    return detector, batch | auxiliary.groundtruth(0, 1)


def baseline():
    """Return the tiny detector, and a batch."""
    return tiny.tiny_detector(), tiny.batch(0, 1)


def operations_of_step(make):
    """Return the operations of a step."""
    with one_device() as strategy:
        detector, batch = make()
        variables = detector.trainable_variables
        optimizer = Momentum(0.1, momentum=0.9)
        optimizer.build(variables)
        step = TrainingStep(detector, optimizer, variables, StepOptions(clip_norm=1.0))
        compiled = tf.function(functools.partial(strategy.run, step), autograph=False)
        graph = compiled.get_concrete_function(args=(batch, tf.constant(0, tf.int64))).graph
    assert not graph.as_graph_def().library.function  # Nothing is hidden in a loop.
    return graph.get_operations()


def test_kernels_are_found_by_their_types():
    graph = tf.Graph()
    with graph.as_default():
        for dtype in (tf.float32, tf.bfloat16, tf.int32):
            tf.nn.conv2d(tf.zeros([1, 2, 2, 1], dtype), tf.zeros([1, 1, 1, 1], dtype), 1, "SAME")
        tf.gather_nd(tf.zeros([2, 2]), tf.zeros([1, 2], tf.int64))
    found = [has_gpu_kernel(op) for op in graph.get_operations() if op.type != "Const"]
    assert found == [True, True, True, True]  # int32: a kernel that only reports an error


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(baseline, {SUPPRESSION}, marks=pytest.mark.slow),
        pytest.param(
            functools.partial(with_all_tasks, bfloat16=True), {SUPPRESSION}, marks=pytest.mark.long
        ),
        pytest.param(
            functools.partial(with_all_tasks, *small.RFCN), set(CPU_ONLY), marks=pytest.mark.long
        ),
    ],
)
def test_every_operation_has_a_gpu_kernel_or_a_reason(make, expected):
    operations = operations_of_step(make)
    assert len(operations) > 1000
    without = {operation.type for operation in operations if not has_gpu_kernel(operation)}
    assert without == expected
