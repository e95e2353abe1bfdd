"""How OpenVINO gathers from a batch: along one axis, from the rows of all images.

Its own gathering of a batch crashes the process where all shapes are known (OpenVINO 2026.4, on
processors with AVX-512), as they are for one picture at a time.

Shape letters: B batch axes, N rows to gather from, I indices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import opset13 as ops  # an extra: only `openvino` imports this
from openvino.frontend.tensorflow import ConversionExtension

OPERATION = "GatherV2"


def extension() -> Any:
    """For a frontend of OpenVINO."""
    return ConversionExtension(OPERATION, _gather)


def _gather(operation: Any) -> list[Any]:
    values, indices, axis = (operation.get_input(i) for i in range(3))
    batch_axes = operation.get_attribute("batch_dims", 0)
    if batch_axes == 0:
        return [ops.gather(values, indices, axis).output(0)]
    if int(axis.get_node().data) != batch_axes:
        raise NotImplementedError(
            f"gathering along axis {int(axis.get_node().data)} with {batch_axes} axes of a batch"
        )
    return [gather_rows(values, indices, batch_axes).output(0)]


def gather_rows(values: Any, indices: Any, batch_axes: int) -> Any:
    """values [*B, N, ...], indices [*B, *I] -> [*B, *I, ...]."""
    shape = ops.shape_of(values)
    num_rows = _part(shape, batch_axes, batch_axes + 1)  # [1]
    batch = ops.reduce_prod(_part(shape, 0, batch_axes), _integers(0), keep_dims=True)  # [1]
    rest = _part(shape, batch_axes + 1, len(values.get_partial_shape()))
    rows = ops.reshape(
        values, ops.concat([ops.multiply(batch, num_rows), rest], 0), special_zero=False
    )
    images = ops.range(_scalar(0), ops.squeeze(batch, _integers(0)), _scalar(1), "i64")
    starts = ops.multiply(images, num_rows)
    ones = len(indices.get_partial_shape()) - batch_axes
    starts = ops.reshape(
        starts,
        ops.concat([_part(shape, 0, batch_axes), _integers(*[1] * ones)], 0),
        special_zero=False,
    )
    return ops.gather(rows, ops.add(ops.convert(indices, "i64"), starts), _scalar(0))


def _part(shape: Any, start: int, end: int) -> Any:
    """Sizes start to end of a shape."""
    return ops.gather(shape, _integers(*range(start, end)), _scalar(0))


def _integers(*values: int) -> Any:
    return ops.constant(np.array(values, np.int64))


def _scalar(value: int) -> Any:
    return ops.constant(np.int64(value))
