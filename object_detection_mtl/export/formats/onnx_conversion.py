"""Conversion of a detector to ONNX.

    <output>/model.onnx

Input and outputs have the names, types and shapes of the SavedModel; suppression is included, and
images may have any size. The file's metadata has the text of metadata.json, with the class names,
under `metadata`. Needs the extra `onnx`.

Shape letters: B batch, N boxes, h w the feature map, C channels, ch cw the crop.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl import optional_packages
from object_detection_mtl.export.graph import freezing
from object_detection_mtl.ops import lowering

FILE_NAME = "model.onnx"
FILES = (FILE_NAME,)
# The newest opset that the runtimes of the last three years read.
OPSET = 17
CROP_OPERATION = "CropAndResize"
_FLOAT, _INT64 = 1, 7  # ONNX's type numbers.
_numbers = itertools.count()


def require_converter() -> None:
    """Check early that tf2onnx is installed.

    Raises:
        ValueError: tf2onnx is not installed.
    """
    optional_packages.import_package("tf2onnx", "onnx", "writing ONNX needs tf2onnx")


def convert_module(module: Any) -> Any:
    """Convert a `DetectionModule`, or one with more inputs, to an `onnx.ModelProto`.

    Args:
        module: Its function must not have been called before: it is traced here, for ONNX.
    """
    import tf2onnx  # an extra

    with lowering.for_onnx():
        detect = freezing.optimize_module(module).detect
        model, _ = tf2onnx.convert.from_function(
            detect,
            input_signature=detect.input_signature,
            opset=OPSET,
            custom_op_handlers={
                "SelectV2": (_translate_where, []),
                CROP_OPERATION: (translate_crops, []),
            },
        )
    return model


def write_model(model: Any, directory: str, description: Mapping[str, Any]) -> None:
    """Write FILES.

    Args:
        model: From `convert_module`.
        directory: Existing directory.
        description: From `export_metadata.describe_export`.
    """
    model.producer_name = "object_detection_mtl"
    entry = model.metadata_props.add()
    entry.key, entry.value = "metadata", json.dumps(description)
    with tf.io.gfile.GFile(os.path.join(directory, FILE_NAME), "wb") as file:
        file.write(model.SerializeToString())


def _translate_where(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Translate `tf.where` to ONNX's Where; tf2onnx would multiply, and -inf times 0 is NaN."""
    node.type = "Where"


def translate_crops(context: Any, node: Any, name: str, arguments: Any) -> None:
    """Translate `tf.image.crop_and_resize` to one `RoiAlign`; for tf2onnx's custom_op_handlers.

    tf2onnx's own translation is a loop that copies the whole feature map for every box.

    `RoiAlign` with one sample per cell samples at the center of the cell, with coordinates that
    start half a pixel before the first pixel. `crop_and_resize` has its first and last samples on
    the edges of the box, so the box is enlarged by half the distance of two samples on each side.
    Samples outside the map are clamped by `RoiAlign` and 0 in TensorFlow: they are multiplied by 0.

    The node has features [B, h, w, C], boxes [N, 4], the image of each box [N] and the size of the
    crop [2]; its result is [N, ch, cw, C].
    """
    features, boxes, images, _ = node.input
    height, width = (int(side) for side in node.inputs[3].get_tensor_value())
    shape, dtype = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    context.remove_node(node.name)
    make = _NodeMaker(context)
    sizes = make("Cast", make("Shape", features), to=_FLOAT)
    edges = [make.part(boxes, i, axis=1) for i in range(4)]  # [N, 1]: top, left, bottom, right
    top, bottom, row_inside = _sample_axis(make, edges[0], edges[2], make.part(sizes, 1), height)
    left, right, column_inside = _sample_axis(make, edges[1], edges[3], make.part(sizes, 2), width)
    crops = make(
        "RoiAlign",
        make("Transpose", features, perm=[0, 3, 1, 2]),
        make("Concat", left, top, right, bottom, axis=1),
        make("Cast", images, to=_INT64),
        output_height=height,
        output_width=width,
        sampling_ratio=1,
        coordinate_transformation_mode="half_pixel",
    )  # [N, C, ch, cw]
    rows = make("Reshape", row_inside, make.constant([-1, 1, height, 1], np.int64))
    columns = make("Reshape", column_inside, make.constant([-1, 1, 1, width], np.int64))
    crops = make("Mul", crops, make("Mul", rows, columns))
    context.make_node(
        "Transpose",
        [crops],
        {"perm": [0, 2, 3, 1]},
        name=name,
        outputs=node.output,
        shapes=[shape],
        dtypes=[dtype],
    )


def _sample_axis(
    make: _NodeMaker, start: str, end: str, size: str, samples: int
) -> tuple[str, str, str]:
    """Return edges for `RoiAlign` [N, 1], and 1 for samples inside the map [N, samples].

    The sample positions are computed as in `ops.roi.linear_samples`, rounding included.

    Args:
        make: Adds operations.
        start: First edges [N, 1].
        end: Last edges [N, 1].
        size: Size of the map along the axis [1].
        samples: Number of samples.
    """
    last = make("Sub", size, make.constant([1.0]))
    first = make("Mul", start, last)
    if samples > 1:
        extent = make("Mul", make("Sub", end, start), last)
        step = make("Div", extent, make.constant([samples - 1.0]))
        positions = make("Add", first, make("Mul", make.constant(np.arange(samples)), step))
        margin = make("Mul", step, make.constant([0.5]))
    else:
        positions = make("Mul", make("Mul", make("Add", start, end), make.constant([0.5])), last)
        margin = make.constant([0.0])
    inside = make(
        "And",
        make("GreaterOrEqual", positions, make.constant([0.0])),
        make("LessOrEqual", positions, last),
    )
    half = make.constant([0.5])
    low = make("Add", make("Sub", first, margin), half)
    high = make("Add", make("Add", make("Mul", end, last), margin), half)
    return low, high, make("Cast", inside, to=_FLOAT)


class _NodeMaker:
    """Helper that adds an operation with one result to the graph and returns its name."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __call__(self, operation: str, *inputs: str, **attributes: Any) -> str:
        return self._context.make_node(operation, list(inputs), attributes).output[0]

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"crops_constant_{next(_numbers)}"
        return self._context.make_const(name, np.asarray(values, dtype)).output[0]

    def part(self, values: str, index: int, axis: int = 0) -> str:
        """Return one slice along an axis, which is kept."""
        return self("Gather", values, self.constant([index], np.int64), axis=axis)
