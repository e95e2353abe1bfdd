"""Estimates of the memory and the time of a training step, without running one.

The forward and backward passes of the largest input are traced. Floating-point operations of their
convolutions and products are divided by the measured speed of one convolution; the results of the
forward pass that the backward pass reads are added up. So frozen blocks, stage 2 computed again
(`mtl.recompute_stage2`) and bfloat16 count as what they are.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from object_detection_mtl.fields import Groundtruth

_BYTES = 4
_NUM_BOXES = 20
# Operations whose results are their inputs, or views of them.
_VIEWS = ("Identity", "IdentityN", "Reshape", "Squeeze", "ExpandDims", "StopGradient")
# Operations whose result is a weight, or known without the image.
_NOT_KEPT = ("Const", "ReadVariableOp", "Placeholder", "Shape", "ResourceGather")
# Operations that read the shape of a tensor alone.
_SHAPES = ("Shape", "ShapeN", "Size", "Rank")
_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
_PRODUCTS = ("MatMul", "BatchMatMulV2")
_LARGEST_SIDE = 1024  # where the resizer has no limit


@dataclass(frozen=True)
class StepCost:
    """Estimated cost of a training step.

    Attributes:
        input_shape: [B, h, w, 3] of the largest batch.
        weight_bytes: weights, gradients and state of the optimizer.
        activation_bytes: results of the forward pass that the backward pass reads.
        flops: floating-point operations.
        flops_per_second: speed of a convolution on this device.
    """

    input_shape: tuple[int, ...]
    weight_bytes: int
    activation_bytes: int
    flops: float
    flops_per_second: float

    def lines(self) -> list[str]:
        """Return the estimate as text."""
        batch, height, width, _ = self.input_shape
        seconds = self.flops / self.flops_per_second
        return [
            f"a step of {batch} images of {height}x{width} takes at least (estimates):",
            f"  memory  {(self.weight_bytes + self.activation_bytes) / 2**20:,.0f} MiB "
            f"(weights, gradients and optimizer {self.weight_bytes / 2**20:,.0f}, "
            f"activations {self.activation_bytes / 2**20:,.0f})",
            f"  time    {seconds:.2g} s ({self.flops / 1e9:,.1f} GFLOP at "
            f"{self.flops_per_second / 1e9:,.0f} GFLOP/s of this device)",
        ]


def estimate_step(detector: Any, batch_size: int, model: Any) -> StepCost:
    """Return the estimated cost of a training step.

    Args:
        detector: built for training.
        batch_size: images of a step, on one device.
        model: the `TrainableModel` with the optimizer and the trained variables.
    """
    height, width = _largest_input(detector)
    parts = model.step_options.num_micro_batches
    shape = (max(1, batch_size // parts), height, width, 3)
    forward, backward = _traced_step(detector, shape, list(model.trained.values()))
    weights = sum(math.prod(variable.shape) for variable in detector.variables)
    trained = sum(math.prod(variable.shape) for variable in model.trained.values())
    # A gradient, and about one slot of the optimizer, for each trained weight.
    return StepCost(
        input_shape=(batch_size, height, width, 3),
        weight_bytes=_BYTES * (weights + 2 * trained),
        activation_bytes=_kept_bytes(forward, backward),
        flops=float(parts * sum(map(_flops, [*forward, *backward]))),
        flops_per_second=convolution_speed(),
    )


def _largest_input(detector: Any) -> tuple[int, int]:
    """Return height and width of the largest resized image."""
    options = getattr(detector.image_resizer, "keywords", {})
    if "height" in options:
        return options["height"], options["width"]
    side = options.get("max_dimension", _LARGEST_SIDE)
    short = options.get("min_dimension", side)
    return (side, side) if options.get("pad_to_max_dimension") else (min(short, side), side)


def _traced_step(
    detector: Any, shape: tuple[int, ...], variables: Sequence[Any]
) -> tuple[list[tf.Operation], list[tf.Operation]]:
    """Return the operations of the forward and of the backward pass."""
    batch = shape[0]
    groundtruth = {
        Groundtruth.boxes: tf.TensorSpec([batch, _NUM_BOXES, 4]),
        Groundtruth.classes: tf.TensorSpec([batch, _NUM_BOXES], tf.int32),
        Groundtruth.num_boxes: tf.TensorSpec([batch], tf.int32),
        Groundtruth.weights: tf.TensorSpec([batch, _NUM_BOXES]),
    }
    num_forward = 0

    @tf.function(autograph=False)
    def step(inputs: tf.Tensor, shapes: tf.Tensor, groundtruth: Any) -> Any:
        nonlocal num_forward
        trained = [variable.value for variable in variables]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(trained)
            predictions = detector.predict(inputs, shapes, groundtruth, training=True)
            # The losses are small beside the network; any function of all predictions will do.
            total = tf.add_n(
                [
                    tf.reduce_sum(tf.cast(value, tf.float32))
                    for value in tf.nest.flatten(predictions)
                    if value.dtype.is_floating
                ]
            )
        num_forward = len(tf.compat.v1.get_default_graph().get_operations())
        return [g for g in tape.gradient(total, trained) if g is not None]

    graph = step.get_concrete_function(
        tf.TensorSpec(shape), tf.TensorSpec([batch, 3], tf.int32), groundtruth
    ).graph
    operations = graph.get_operations()
    needed = _needed_for(graph.outputs)
    backward = [each for each in operations[num_forward:] if each.name in needed]
    return operations[:num_forward], backward


def _needed_for(tensors: Iterable[tf.Tensor]) -> set[str]:
    """Return the names of the operations that make tensors; others of a tape are not run."""
    needed: set[str] = set()
    waiting = [tensor.op for tensor in tensors]
    while waiting:
        operation = waiting.pop()
        if operation.name not in needed:
            needed.add(operation.name)
            waiting += [tensor.op for tensor in operation.inputs]
    return needed


def _kept_bytes(forward: Sequence[tf.Operation], backward: Sequence[tf.Operation]) -> int:
    """Return the size of the results of `forward` that `backward` reads."""
    kept: dict[str, int] = {}
    of_forward = {operation.name for operation in forward}
    for operation in backward:
        for tensor in operation.inputs if operation.type not in _SHAPES else ():
            while tensor.op.type in _VIEWS:
                tensor = tensor.op.inputs[tensor.value_index]
            if tensor.op.name in of_forward and tensor.op.type not in _NOT_KEPT:
                kept[tensor.name] = _size(tensor) * tensor.dtype.size
    return sum(kept.values())


def _size(tensor: tf.Tensor) -> int:
    return tensor.shape.num_elements() or 0


def _flops(operation: tf.Operation) -> int:
    """Return the operations of a convolution or a product; 0 for others, and for unknown shapes."""
    kind = operation.type
    if kind in _PRODUCTS:
        inner = operation.inputs[0].shape[-2 if _transposes(operation) else -1] or 0
        return 2 * _size(operation.outputs[0]) * inner
    if kind in _CONVOLUTIONS:
        kernel, outputs = operation.inputs[1].shape, operation.outputs[0]
    elif kind.endswith("BackpropInput"):
        kernel, outputs = operation.inputs[1].shape, operation.inputs[2]
    elif kind.endswith("BackpropFilter"):
        kernel, outputs = operation.outputs[0].shape, operation.inputs[2]
    else:
        return 0
    if not kernel.is_fully_defined():
        return 0
    height, width, channels, _ = kernel
    # A depthwise convolution adds up over its window alone.
    return 2 * _size(outputs) * height * width * (1 if kind.startswith("Depthwise") else channels)


def _transposes(operation: tf.Operation) -> bool:
    name = "transpose_a" if operation.type == "MatMul" else "adj_x"
    return bool(operation.get_attr(name))


def convolution_speed(clock: Callable[[], float] = time.perf_counter) -> float:
    """Return the floating-point operations a second of a convolution on this device."""
    images, kernel = tf.random.normal([1, 64, 64, 256]), tf.random.normal([3, 3, 256, 256])
    convolve = tf.function(
        lambda: tf.reduce_sum(tf.nn.conv2d(images, kernel, 1, "SAME")), autograph=False
    )
    convolve().numpy()
    count = 3
    start = clock()
    for _ in range(count):
        convolve().numpy()
    return count * 2 * 64 * 64 * 256 * 9 * 256 / (clock() - start)
