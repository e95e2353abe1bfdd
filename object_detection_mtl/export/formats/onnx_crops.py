"""How ONNX crops regions: all of them by one `RoiAlign`.

tf2onnx's own translation is a loop that, for every box, copies the whole feature map.

`RoiAlign` with one sample per cell takes it from the cell's middle, and counts from half a pixel
before the first one. `tf.image.crop_and_resize` has its first and last samples on the box's edges,
so that the box handed over is larger by half the distance of two samples on each side. Samples
outside the map are clamped by the one and 0 for the other: they are multiplied by 0.

Shape letters: B batch, N boxes, h w the feature map, C channels, ch cw the crop.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

OPERATION = "CropAndResize"
_FLOAT, _INT64 = 1, 7  # ONNX's numbers of types
_numbers = itertools.count()


def translate(context: Any, node: Any, name: str, arguments: Any) -> None:
    """For tf2onnx's `custom_op_handlers`.

    The node has features [B, h, w, C], boxes [N, 4], the image of each box [N] and the crop's size
    [2]; its result is [N, ch, cw, C].
    """
    features, boxes, images, _ = node.input
    height, width = (int(side) for side in node.inputs[3].get_tensor_value())
    shape, dtype = context.get_shape(node.output[0]), context.get_dtype(node.output[0])
    context.remove_node(node.name)
    make = _Maker(context)
    sizes = make("Cast", make("Shape", features), to=_FLOAT)
    edges = [make.part(boxes, i, axis=1) for i in range(4)]  # [N, 1]: top, left, bottom, right
    top, bottom, row_inside = _along(make, edges[0], edges[2], make.part(sizes, 1), height)
    left, right, column_inside = _along(make, edges[1], edges[3], make.part(sizes, 2), width)
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


def _along(make: _Maker, start: str, end: str, size: str, samples: int) -> tuple[str, str, str]:
    """Along one axis: edges for `RoiAlign` [N, 1], and 1 for samples inside the map [N, samples].

    The samples' places are computed as `ops.roi.linear_samples` does it, rounding included.

    Args:
        start, end: edges [N, 1].
        size: of the map [1].
        samples: their number.
    """
    last = make("Sub", size, make.constant([1.0]))
    first = make("Mul", start, last)
    if samples > 1:
        extent = make("Mul", make("Sub", end, start), last)
        step = make("Div", extent, make.constant([samples - 1.0]))
        places = make("Add", first, make("Mul", make.constant(np.arange(samples)), step))
        margin = make("Mul", step, make.constant([0.5]))
    else:
        places = make("Mul", make("Mul", make("Add", start, end), make.constant([0.5])), last)
        margin = make.constant([0.0])
    inside = make(
        "And",
        make("GreaterOrEqual", places, make.constant([0.0])),
        make("LessOrEqual", places, last),
    )
    half = make.constant([0.5])
    low = make("Add", make("Sub", first, margin), half)
    high = make("Add", make("Add", make("Mul", end, last), margin), half)
    return low, high, make("Cast", inside, to=_FLOAT)


class _Maker:
    """Adds operations of one result, whose name it answers with."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def __call__(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self._context.make_node(kind, list(inputs), attributes).output[0]

    def constant(self, values: Any, dtype: Any = np.float32) -> str:
        name = f"crops_constant_{next(_numbers)}"
        return self._context.make_const(name, np.asarray(values, dtype)).output[0]

    def part(self, values: str, index: int, axis: int = 0) -> str:
        """One row or column; the axis stays."""
        return self("Gather", values, self.constant([index], np.int64), axis=axis)
