"""Freeze a detector's graph for faster inference with the same detections.

* Weights become constants, and constant expressions are folded: kernels with their batch norm
  (`backbones.backbone` multiplies it in the graph), reshaped biases, base anchors. Nodes that no
  output needs are pruned.
* The folded kernels are stored as variables, which load faster. A constant is part of the graph,
  and a loader copies the graph a dozen times: reading it, partitioning it into functions,
  optimizing it at the first call. With the 180 MB of a ResNet-101 that took 4 s to load, 4 s more
  at the first call, and 5 GiB. A variable is read once. The layout of constants is converted for
  the CPU once, that of variables at each call; the difference in latency is not measurable. All
  other constants remain. A graph has at most 2 GiB; the kernels of a large backbone with several
  auxiliary heads approach this limit.
* Functions are inlined, so that a loader sees one flat graph.

The normalization of images is not folded into the first convolution. That convolution pads
normalized images with zeros; with a folded kernel it would have to pad with the mean of the images,
so every output at the border would differ. Normalization is a thousandth of the time.
"""

from __future__ import annotations

import dataclasses
import inspect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2
from tensorflow.python.eager import context
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
from tensorflow.python.grappler import tf_optimizer

from object_detection_mtl.export.export_options import BFLOAT16, FLOAT32
from object_detection_mtl.export.graph import bfloat16_convolutions
from object_detection_mtl.export.graph.graph_walk import producer_name, prune_graph

# In this order: folding leaves unused nodes behind.
_PASSES = ("constfold", "pruning")
_KERNEL_OPERATIONS = frozenset(["Conv2D", "DepthwiseConv2dNative", "MatMul"])
# Smaller kernels stay constants.
_MIN_KERNEL_BYTES = 4096
_numbers = itertools.count()


@dataclass(frozen=True)
class FrozenGraph:
    """A frozen graph of one or more inputs.

    Attributes:
        definition: The graph, without variables.
        input_specs: Specs of the inputs.
        input_names: Names of the input tensors.
        output_names: Output -> name of its tensor.
        output_shapes: Output -> static shape.
        kernels: Name of a tensor that the graph reads and does not compute -> its value; see
            `extract_kernels`.
    """

    definition: Any
    input_specs: tuple[tf.TensorSpec, ...]
    input_names: tuple[str, ...]
    output_names: dict[str, str]
    output_shapes: dict[str, tf.TensorShape]
    kernels: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def import_into_graph(
        self, inputs: Sequence[tf.Tensor], kernels: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Import the graph into the one that is being traced; return the outputs."""
        given = dict(zip(self.input_names, inputs, strict=True))
        tensors = tf.graph_util.import_graph_def(
            self.definition,
            input_map={**given, **kernels},
            return_elements=list(self.output_names.values()),
            name="",
        )
        return {
            name: tf.ensure_shape(tensor, self.output_shapes[name])
            for name, tensor in zip(self.output_names, tensors, strict=True)
        }


class FrozenModule(tf.Module):
    """A frozen graph with the inputs and outputs of its `DetectionModule`.

    Attributes:
        kernels: Name of a kernel tensor -> variable.
        detect: The function. Calling the module is the same.
    """

    def __init__(self, graph: FrozenGraph) -> None:
        super().__init__(name="detection_module")
        for function in graph.definition.library.function:
            # Importing adds functions to the graph; an eager call needs them in this process.
            context.context().add_function_def(function)
        self.kernels = {
            name: tf.Variable(values, trainable=False) for name, values in graph.kernels.items()
        }

        def detect(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            kernels = {name: variable.value() for name, variable in self.kernels.items()}
            return graph.import_into_graph(inputs, kernels)

        # So that the loaded module answers `module(input_tensor=...)` too.
        arguments = [
            inspect.Parameter(spec.name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for spec in graph.input_specs
        ]
        detect.__signature__ = inspect.Signature(arguments)  # type: ignore[attr-defined]
        self.detect = tf.function(detect, input_signature=graph.input_specs, autograph=False)
        self.__call__ = self.detect


def optimize_module(
    module: Any, precision: str = FLOAT32, *, kernels_as_variables: bool = False
) -> FrozenModule:
    """Return the frozen module to serve in place of a `DetectionModule`.

    Args:
        module: The module, or one with more inputs.
        precision: Precision of the convolutions, one of `export_options.PRECISIONS`.
        kernels_as_variables: Store the kernels of convolutions in variables. Otherwise the module
            has none.
    """
    graph = freeze_module(module)
    definition = graph.definition
    kernels: dict[str, np.ndarray] = {}
    if precision == BFLOAT16:
        definition = bfloat16_convolutions.cast_convolutions(
            definition, graph.output_names.values()
        )
    # Casting leaves unused float32 constants behind.
    definition = prune_graph(definition, [*graph.input_names, *graph.output_names.values()])
    if kernels_as_variables:
        definition, kernels = extract_kernels(definition)
    return FrozenModule(dataclasses.replace(graph, definition=definition, kernels=kernels))


def freeze_module(module: Any) -> FrozenGraph:
    """Return the graph of a `DetectionModule`, or one with more inputs, with present weights."""
    concrete = module.detect.get_concrete_function()
    _forget_tables(concrete.graph)
    names = sorted(concrete.structured_outputs)  # The order of the flat outputs, too.
    shapes = {name: concrete.structured_outputs[name].shape for name in names}
    # Loops and conditions are not lowered to switches, which could not be imported again.
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    outputs = dict(zip(names, (tensor.name for tensor in frozen.outputs), strict=True))
    inputs = tuple(tensor.name for tensor in frozen.inputs)
    _forget_tables(frozen.graph)
    definition = _run_grappler(frozen.graph, [*inputs, *outputs.values()])
    return FrozenGraph(definition, module.detect.input_signature, inputs, outputs, shapes)


def _forget_tables(graph: tf.Graph) -> None:
    """Remove the tables of other parts of the process, such as input pipelines, from a graph.

    Their initializers have no operation, of which TensorFlow warns when it serializes the graph.
    """
    graph.clear_collection(tf.compat.v1.GraphKeys.TABLE_INITIALIZERS)


def extract_kernels(definition: Any) -> tuple[Any, dict[str, np.ndarray]]:
    """Remove the kernels from a `GraphDef` that is frozen, folded and pruned.

    Returns:
        The graph, whose convolutions read tensors that it does not compute, and the name of each
        such tensor -> its value.
    """
    nodes = {node.name: node for node in definition.node}
    names = {
        producer_name(node.input[1]) for node in nodes.values() if node.op in _KERNEL_OPERATIONS
    }
    values: dict[str, np.ndarray] = {}
    for name in sorted(names):
        if nodes[name].op == "Const":
            value = tf.make_ndarray(nodes[name].attr["value"].tensor)
            if value.nbytes >= _MIN_KERNEL_BYTES:
                values[name] = value
    replacements = _merge_equal_kernels(values)
    rest = tf.compat.v1.GraphDef(library=definition.library, versions=definition.versions)
    for node in definition.node:
        if node.name not in values:
            copy = rest.node.add()
            copy.CopyFrom(node)
            for position, name in enumerate(node.input):
                copy.input[position] = replacements.get(producer_name(name), name)
    return rest, {f"{name}:0": values[name] for name in sorted(set(replacements.values()))}


def _merge_equal_kernels(values: dict[str, np.ndarray]) -> dict[str, str]:
    """Return the name of each kernel -> name of the first kernel that equals it.

    Heads that share a block have its kernels folded once each.
    """
    first: dict[tuple[Any, ...], str] = {}
    return {
        name: first.setdefault((value.shape, value.dtype, value.tobytes()), name)
        for name, value in values.items()
    }


def _run_grappler(graph: tf.Graph, kept: list[str]) -> Any:
    """Return the graph's definition after _PASSES; the tensors `kept` keep their names."""
    meta_graph: meta_graph_pb2.MetaGraphDef = tf.compat.v1.train.export_meta_graph(
        graph=graph, graph_def=graph.as_graph_def(add_shapes=True)
    )
    # Grappler reads the tensors to fetch from this collection.
    meta_graph.collection_def["train_op"].node_list.value.extend(kept)
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.optimizers.extend(_PASSES)
    rewriting.min_graph_nodes = -1  # Optimize small graphs, too.
    rewriting.meta_optimizer_iterations = 2
    definition = tf_optimizer.OptimizeGraph(config, meta_graph)
    _rename_functions(definition, f"_frozen_{next(_numbers)}")
    return definition


def _rename_functions(definition: Any, suffix: str) -> None:
    """Append `suffix` to the names of all functions (of loops, conditions).

    The optimized functions differ from those that this process has under the old names.
    """
    names = {function.signature.name for function in definition.library.function}
    nodes = [*definition.node, *(n for f in definition.library.function for n in f.node_def)]
    for function in definition.library.function:
        function.signature.name += suffix
    for node in nodes:
        if node.op in names:
            node.op += suffix
        for value in node.attr.values():
            for called in (value.func, *value.list.func):
                if called.name in names:
                    called.name += suffix
