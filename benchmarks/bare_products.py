"""Convolutions and matrix products of a traced function, run alone.

A network cannot be faster than its products. `bare_function` takes a traced `tf.function`, finds
every convolution and matrix product in its graph (those of the gradients too) and returns a
function that runs only these, one after the other, with the same shapes, strides and types on
random numbers. Dividing the real function's time by the bare one's says what everything else costs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

PRODUCTS = (
    "Conv2D",
    "Conv2DBackpropInput",
    "Conv2DBackpropFilter",
    "DepthwiseConv2dNative",
    "DepthwiseConv2dNativeBackpropInput",
    "DepthwiseConv2dNativeBackpropFilter",
    "MatMul",
    "BatchMatMulV2",
)


@dataclass(frozen=True)
class Product:
    """One operation: its graph node and the shapes of its inputs."""

    operation: tf.Operation
    shapes: tuple[tuple[int, ...], ...]

    @property
    def kind(self) -> str:
        return self.operation.type

    def multiply_adds(self) -> float:
        """Multiply-add operations of the forward convolution or product that it belongs to."""
        if self.kind in ("MatMul", "BatchMatMulV2"):
            left = self.shapes[0]
            transposed = self.operation.get_attr(_transpose_name(self.kind))
            contracted = left[-2] if transposed else left[-1]
            return float(np.prod(self.operation.outputs[0].shape.as_list())) * contracted
        if self.kind.endswith("BackpropFilter"):
            kernel, pixels = self.operation.outputs[0].shape.as_list(), self.shapes[2]
        elif self.kind.endswith("BackpropInput"):
            kernel, pixels = self.shapes[1], self.shapes[2]
        else:
            kernel, pixels = self.shapes[1], self.operation.outputs[0].shape.as_list()
        positions = float(np.prod(pixels[:3]))
        return positions * float(np.prod(kernel))


def _transpose_name(kind: str) -> str:
    return "transpose_a" if kind == "MatMul" else "adj_x"


def find_products(function: Any) -> list[Product]:
    """Every product in a concrete function's graph.

    Raises:
        ValueError: a shape in it is not static, so that it cannot be repeated.
    """
    products = []
    for operation in function.graph.get_operations():
        if operation.type in PRODUCTS:
            shapes = []
            for tensor in operation.inputs:
                if not tensor.shape.is_fully_defined():
                    raise ValueError(f"{operation.name}: input shape {tensor.shape} is not static")
                shapes.append(tuple(tensor.shape.as_list()))
            products.append(Product(operation, tuple(shapes)))
    return products


def bare_function(products: list[Product]) -> Callable[[], tf.Tensor]:
    """A function that runs the products in order and returns a scalar that needs all of them."""
    operands: dict[tuple, tf.Variable] = {}
    random = np.random.RandomState(0)

    def operand(shape: tuple[int, ...], dtype: tf.DType) -> tf.Variable:
        key = (shape, dtype)
        if key not in operands:
            values = random.standard_normal(shape).astype(np.float32)
            operands[key] = tf.Variable(values, dtype=dtype)
        return operands[key]

    prepared = []
    for product in products:
        inputs = []
        for tensor, shape in zip(product.operation.inputs, product.shapes, strict=True):
            if tensor.dtype.is_integer:
                inputs.append(_constant_value(product.operation, tensor))
            else:
                inputs.append(operand(shape, tensor.dtype))
        prepared.append((product.operation.node_def, inputs))

    @tf.function
    def run() -> tf.Tensor:
        firsts: list[tf.Tensor] = []
        for node, inputs in prepared:
            with tf.control_dependencies(firsts[-1:]):
                values = [tf.convert_to_tensor(value) for value in inputs]
                # One number of each result is used, or the graph optimiser would drop the product.
                first = tf.reshape(_repeat(node, values), [-1])[0]
                firsts.append(tf.cast(first, tf.float32))
        return tf.add_n(firsts)

    return run


def _constant_value(operation: tf.Operation, tensor: tf.Tensor) -> np.ndarray:
    """The sizes that a gradient convolution takes as an input."""
    value = tf.get_static_value(tensor)
    if value is not None:
        return value
    wanted = operation.outputs[0].shape
    if not wanted.is_fully_defined():
        raise ValueError(f"{operation.name}: the shape of its result is not static: {wanted}")
    return np.asarray(wanted.as_list(), np.int32)


def _repeat(node: Any, inputs: list[tf.Tensor]) -> tf.Tensor:
    """The result of a node's operation on other inputs."""
    attributes = {name: value for name, value in node.attr.items() if not name.startswith("_")}
    graph = tf.compat.v1.get_default_graph()
    dtypes = [inputs[-1].dtype]
    return graph.create_op(node.op, inputs, dtypes, attrs=attributes, name="bare").outputs[0]


def describe(products: list[Product]) -> str:
    """One line: how many products of which kind, and their multiply-adds."""
    counts = Counter(product.kind for product in products)
    total = sum(product.multiply_adds() for product in products)
    parts = ", ".join(f"{count} {kind}" for kind, count in counts.most_common())
    return f"{total / 1e9:.2f} G multiply-adds in {parts}"
