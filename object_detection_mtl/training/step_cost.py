"""Estimates of the memory and the time of a training step, without running one.

The forward pass of the largest input is traced. Floating-point operations of its convolutions and
products, times three for the backward pass, are divided by the measured speed of one convolution;
the outputs of its layers, which the backward pass needs, are added up.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from object_detection_mtl.fields import Groundtruth

# Forward and backward pass: gradients of inputs and of weights cost as much as the forward pass.
_PASSES = 3
_BYTES = 4
_NUM_BOXES = 20
# Operations whose outputs are kept for the backward pass.
_KEPT = (
    "Conv2D",
    "DepthwiseConv2dNative",
    "MatMul",
    "BatchMatMulV2",
    "Relu",
    "Relu6",
    "BiasAdd",
    "AddV2",
    "ConcatV2",
    "MaxPool",
    "CropAndResize",
)
_LARGEST_SIDE = 1024  # where the resizer has no limit


@dataclass(frozen=True)
class StepCost:
    """Estimated cost of a training step.

    Attributes:
        input_shape: [B, h, w, 3] of the largest batch.
        weight_bytes: weights, gradients and state of the optimizer.
        activation_bytes: outputs that the backward pass needs.
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
    shape = (batch_size, height, width, 3)
    graph = _forward_graph(detector, shape)
    flops = sum(_flops(operation) for operation in graph.get_operations())
    activations = sum(
        _size(operation.outputs[0])
        for operation in graph.get_operations()
        if operation.type in _KEPT
    )
    weights = sum(math.prod(variable.shape) for variable in detector.variables)
    trained = sum(math.prod(variable.shape) for variable in model.trained.values())
    # A gradient, and about one slot of the optimizer, for each trained weight.
    return StepCost(
        input_shape=shape,
        weight_bytes=_BYTES * (weights + 2 * trained),
        activation_bytes=_BYTES * activations,
        flops=float(_PASSES * flops),
        flops_per_second=_measured_speed(),
    )


def _largest_input(detector: Any) -> tuple[int, int]:
    """Return height and width of the largest resized image."""
    options = getattr(detector.image_resizer, "keywords", {})
    if "height" in options:
        return options["height"], options["width"]
    side = options.get("max_dimension", _LARGEST_SIDE)
    short = options.get("min_dimension", side)
    return (side, side) if options.get("pad_to_max_dimension") else (min(short, side), side)


def _forward_graph(detector: Any, shape: tuple[int, ...]) -> tf.Graph:
    batch = shape[0]
    groundtruth = {
        Groundtruth.boxes: tf.TensorSpec([batch, _NUM_BOXES, 4]),
        Groundtruth.classes: tf.TensorSpec([batch, _NUM_BOXES], tf.int32),
        Groundtruth.num_boxes: tf.TensorSpec([batch], tf.int32),
        Groundtruth.weights: tf.TensorSpec([batch, _NUM_BOXES]),
    }

    @tf.function(autograph=False)
    def forward(inputs: tf.Tensor, shapes: tf.Tensor, groundtruth: Any) -> Any:
        return detector.predict(inputs, shapes, groundtruth, training=True)

    return forward.get_concrete_function(
        tf.TensorSpec(shape), tf.TensorSpec([batch, 3], tf.int32), groundtruth
    ).graph


def _size(tensor: tf.Tensor) -> int:
    return tensor.shape.num_elements() or 0


def _flops(operation: tf.Operation) -> int:
    """Return the operations of a convolution or a product; 0 for others, and for unknown shapes."""
    if operation.type in ("Conv2D", "DepthwiseConv2dNative"):
        kernel = operation.inputs[1].shape
        if not kernel.is_fully_defined():
            return 0
        height, width, channels, _ = kernel
        inputs = channels if operation.type == "Conv2D" else 1
        return 2 * _size(operation.outputs[0]) * height * width * inputs
    if operation.type in ("MatMul", "BatchMatMulV2"):
        inner = operation.inputs[0].shape[-2 if _transposes(operation) else -1] or 0
        return 2 * _size(operation.outputs[0]) * inner
    return 0


def _transposes(operation: tf.Operation) -> bool:
    name = "transpose_a" if operation.type == "MatMul" else "adj_x"
    return bool(operation.get_attr(name))


def _measured_speed() -> float:
    """Return the floating-point operations a second of a convolution on this device."""
    images, kernel = tf.random.normal([1, 64, 64, 256]), tf.random.normal([3, 3, 256, 256])
    convolve = tf.function(
        lambda: tf.reduce_sum(tf.nn.conv2d(images, kernel, 1, "SAME")), autograph=False
    )
    convolve().numpy()
    count = 3
    start = time.perf_counter()
    for _ in range(count):
        convolve().numpy()
    return count * 2 * 64 * 64 * 256 * 9 * 256 / (time.perf_counter() - start)
