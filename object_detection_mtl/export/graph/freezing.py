"""The detector's graph, frozen: the same detections sooner.

What is done, and why no more:

* Weights become constants, and whatever hangs on constants alone is computed here: the kernels with
  their batch norm folded in (`backbones.backbone` folds it in the graph), reshaped biases, the
  anchors' base boxes. Parts that do not answer are cut off.
* The folded kernels are then served as variables (`kernels`), which load sooner.
* Functions are inlined, so that a loader has one flat graph to look at.

Normalising pictures is not folded into the first convolution. The zeros with which that one pads
are zeros after normalising; for a folded kernel they would have to be the pictures' mean, and are
not, so every output at the border would differ. It takes a thousandth of the time anyway.
"""

from __future__ import annotations

import dataclasses
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
from object_detection_mtl.export.graph import bfloat16_convolutions, graph_walk, kernels

# In this order: folding leaves nodes behind that nothing asks for.
_PASSES = ("constfold", "pruning")
_numbers = itertools.count()


@dataclass(frozen=True)
class FrozenGraph:
    """A graph of one input or more.

    Attributes:
        definition: the graph; without variables.
        input_specs: of its inputs.
        input_names: names of the inputs' tensors.
        output_names: what is answered -> name of the tensor.
        output_shapes: what is answered -> static shape.
        kernels: name of a tensor that the graph reads and lacks -> its values; see `kernels`.
    """

    definition: Any
    input_specs: tuple[tf.TensorSpec, ...]
    input_names: tuple[str, ...]
    output_names: dict[str, str]
    output_shapes: dict[str, tf.TensorShape]
    kernels: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def answer(
        self, inputs: Sequence[tf.Tensor], read_kernels: Mapping[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """The graph as a part of the one being traced."""
        given = dict(zip(self.input_names, inputs, strict=True))
        tensors = tf.graph_util.import_graph_def(
            self.definition,
            input_map={**given, **read_kernels},
            return_elements=list(self.output_names.values()),
            name="",
        )
        return {
            name: tf.ensure_shape(tensor, self.output_shapes[name])
            for name, tensor in zip(self.output_names, tensors, strict=True)
        }


class FrozenModule(tf.Module):
    """A frozen graph in the place of a `module.DetectionModule`: it takes and answers the same."""

    def __init__(self, graph: FrozenGraph) -> None:
        super().__init__(name="detection_module")
        for function in graph.definition.library.function:
            # Importing makes functions known to the graph; calling it at once asks this process.
            context.context().add_function_def(function)
        self.kernels = {
            name: tf.Variable(values, trainable=False) for name, values in graph.kernels.items()
        }

        def detect(*inputs: tf.Tensor) -> dict[str, tf.Tensor]:
            read = {name: variable.value() for name, variable in self.kernels.items()}
            return graph.answer(inputs, read)

        self.detect = tf.function(detect, input_signature=graph.input_specs)
        self.__call__ = self.detect


def optimized(
    module: Any, precision: str = FLOAT32, *, kernels_apart: bool = False
) -> FrozenModule:
    """What to serve in place of a `module.DetectionModule`.

    Args:
        precision: of the convolutions, one of `options.PRECISIONS`.
        kernels_apart: keep the convolutions' kernels in variables. Otherwise the module has none.
    """
    graph = freeze(module)
    definition = graph.definition
    values: dict[str, np.ndarray] = {}
    if precision == BFLOAT16:
        definition = bfloat16_convolutions.narrow(definition, graph.output_names.values())
    # Narrowing leaves wide constants behind.
    definition = graph_walk.pruned(definition, [*graph.input_names, *graph.output_names.values()])
    if kernels_apart:
        definition, values = kernels.take_out(definition)
    return FrozenModule(dataclasses.replace(graph, definition=definition, kernels=values))


def freeze(module: Any) -> FrozenGraph:
    """The graph of a `module.DetectionModule`, or of one with more inputs, with present weights."""
    concrete = module.detect.get_concrete_function()
    names = sorted(concrete.structured_outputs)  # the order of the flat outputs, too
    shapes = {name: concrete.structured_outputs[name].shape for name in names}
    # Loops and conditions stay whole: lowered to switches they cannot be imported again.
    frozen = convert_variables_to_constants_v2(concrete, lower_control_flow=False)
    outputs = dict(zip(names, (tensor.name for tensor in frozen.outputs), strict=True))
    given = tuple(tensor.name for tensor in frozen.inputs)
    definition = _simplify(frozen.graph, [*given, *outputs.values()])
    return FrozenGraph(definition, module.detect.input_signature, given, outputs, shapes)


def _simplify(graph: tf.Graph, kept: list[str]) -> Any:
    """The graph's definition after _PASSES; the tensors `kept` stay what they are."""
    meta_graph: meta_graph_pb2.MetaGraphDef = tf.compat.v1.train.export_meta_graph(
        graph=graph, graph_def=graph.as_graph_def(add_shapes=True)
    )
    # Grappler takes what is to be fetched from this collection.
    meta_graph.collection_def["train_op"].node_list.value.extend(kept)
    config = config_pb2.ConfigProto()
    rewriting = config.graph_options.rewrite_options
    rewriting.optimizers.extend(_PASSES)
    rewriting.min_graph_nodes = -1  # small graphs, too
    rewriting.meta_optimizer_iterations = 2
    definition = tf_optimizer.OptimizeGraph(config, meta_graph)
    _rename_functions(definition, f"_frozen_{next(_numbers)}")
    return definition


def _rename_functions(definition: Any, suffix: str) -> None:
    """Ends the names of all functions (of loops, conditions) with `suffix`.

    Simplified functions are others than those which this process knows under their names.
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
