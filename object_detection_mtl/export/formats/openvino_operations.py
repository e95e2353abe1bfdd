"""OpenVINO translations of batched gathering, suppression and casts to bfloat16."""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import opset13 as ops  # an extra: only `openvino_conversion` imports this module
from openvino.frontend.tensorflow import ConversionExtension

GATHER_OPERATION = "GatherV2"
SUPPRESSION_OPERATION = "CombinedNonMaxSuppression"
# Lower than every score except -inf, the score of padding.
_LOWEST_SCORE = np.finfo(np.float32).min
# float32 has 16 bits of mantissa more than bfloat16. x + 2^16 x is rounded at the last bit of
# bfloat16, and subtracting 2^16 x is exact.
_SHIFT = 2.0**16


def gather_extension() -> Any:
    """Return the translation of `tf.gather`: along one axis, from the rows of all images.

    OpenVINO's own translation of a batched gather crashes the process if all shapes are static
    (OpenVINO 2026.4, on CPUs with AVX-512), as they are for one image at a time.
    """
    return ConversionExtension(GATHER_OPERATION, _translate_gather)


def _translate_gather(operation: Any) -> list[Any]:
    values, indices, axis = (operation.get_input(i) for i in range(3))
    batch_axes = operation.get_attribute("batch_dims", 0)
    if batch_axes == 0:
        return [ops.gather(values, indices, axis).output(0)]
    if int(axis.get_node().data) != batch_axes:
        raise NotImplementedError(
            f"gathering along axis {int(axis.get_node().data)} with {batch_axes} batch axes is "
            f"unsupported, expected axis {batch_axes}"
        )
    return [gather_rows(values, indices, batch_axes).output(0)]


def gather_rows(values: Any, indices: Any, batch_axes: int) -> Any:
    """Gather rows of a batch: values [*B, N, ...], indices [*B, *I] -> [*B, *I, ...]."""
    shape = ops.shape_of(values)
    num_rows = _shape_part(shape, batch_axes, batch_axes + 1)  # [1]
    batch = ops.reduce_prod(_shape_part(shape, 0, batch_axes), _integers(0), keep_dims=True)  # [1]
    rest = _shape_part(shape, batch_axes + 1, len(values.get_partial_shape()))
    rows = ops.reshape(
        values, ops.concat([ops.multiply(batch, num_rows), rest], 0), special_zero=False
    )
    images = ops.range(_scalar(0), ops.squeeze(batch, _integers(0)), _scalar(1), "i64")
    starts = ops.multiply(images, num_rows)
    ones = len(indices.get_partial_shape()) - batch_axes
    starts = ops.reshape(
        starts,
        ops.concat([_shape_part(shape, 0, batch_axes), _integers(*[1] * ones)], 0),
        special_zero=False,
    )
    return ops.gather(rows, ops.add(ops.convert(indices, "i64"), starts), _scalar(0))


def suppression_extension() -> Any:
    """Return the translation of the suppression in `ops.suppression.select_by_openvino`.

    Shape letters: R images of one class each, N candidate boxes, S maximum of kept boxes, M boxes
    kept in all images.
    """
    return ConversionExtension(SUPPRESSION_OPERATION, _translate_suppression)


def _translate_suppression(operation: Any) -> list[Any]:
    """Return boxes [R, S, 4], scores [R, S], rows [R, S] and counts [R]."""
    boxes = ops.squeeze(operation.get_input(0), _integers(2)).output(0)  # [R, N, 4]
    scores = ops.squeeze(operation.get_input(1), _integers(2)).output(0)  # [R, N]
    max_kept = ops.convert(operation.get_input(2), "i64")
    threshold = operation.get_input(4).get_node().data  # A constant of the frozen graph.
    chosen = ops.non_max_suppression(
        boxes,
        ops.unsqueeze(scores, _integers(1)),
        max_kept,
        # OpenVINO drops boxes at the threshold, TensorFlow keeps them.
        ops.constant(np.nextafter(threshold, np.float32(np.inf), dtype=np.float32)),
        ops.constant(_LOWEST_SCORE),
        box_encoding="corner",
        sort_result_descending=False,  # image by image, each by score
        output_type="i64",
    ).output(0)  # [M, 3]: image, class, row
    positions, is_kept, counts = _kept_positions(chosen, scores, max_kept)
    # One more row, which padding reads.
    rows = ops.concat([ops.gather(chosen, _scalar(2), _scalar(1)), _integers(0)], 0)  # [M + 1]
    rows = ops.gather(rows, positions, _scalar(0))  # [R, S]
    kept_scores = ops.select(
        is_kept,
        gather_rows(scores, rows.output(0), 1),
        ops.constant(np.float32("-inf")),
    )
    kept_boxes = gather_rows(boxes, rows.output(0), 1)
    return [node.output(0) for node in (kept_boxes, kept_scores, ops.convert(rows, "f32"), counts)]


def _kept_positions(chosen: Any, scores: Any, max_kept: Any) -> tuple[Any, Any, Any]:
    """Return where the kept boxes of each image are in `chosen` [M, 3].

    Returns:
        Positions [R, S], M in padding; whether a box is kept [R, S]; counts [R].
    """
    image = ops.gather(chosen, _scalar(0), _scalar(1))  # [M]
    number = ops.gather(ops.shape_of(chosen), _scalar(0), _scalar(0))
    num_images = ops.gather(ops.shape_of(scores), _scalar(0), _scalar(0))
    images = ops.range(_scalar(0), num_images, _scalar(1), "i64")
    is_of = ops.convert(ops.equal(ops.unsqueeze(images, _integers(1)), image), "i32")  # [R, M]
    counts = ops.reduce_sum(is_of, _integers(1))
    starts = ops.convert(ops.cum_sum(counts, _scalar(0), exclusive=True), "i64")
    ranks = ops.range(_scalar(0), max_kept, _scalar(1), "i64")  # [S]
    is_kept = ops.less(ranks, ops.unsqueeze(ops.convert(counts, "i64"), _integers(1)))
    positions = ops.add(ops.unsqueeze(starts, _integers(1)), ranks)
    return ops.select(is_kept, positions, number), is_kept, counts


def round_before_bfloat16(model: Any) -> None:
    """Round values to the nearest bfloat16 value before an `openvino.Model` casts them.

    OpenVINO's own cast truncates half of the values if shapes are dynamic (OpenVINO 2026.4: of two
    neighbors it only ever rounds up to the even one). Feature maps become smaller by 0.14 % each
    time, which cost 0.3 to 0.6 points of mAP@0.5. Every version casts bfloat16 values exactly.
    """
    for operation in model.get_ordered_ops():
        if operation.get_type_name() == "Convert" and _converts_to_bfloat16(operation):
            source = operation.input(0).get_source_output()
            operation.input(0).replace_source_output(round_to_bfloat16(source).output(0))


def round_to_bfloat16(values: Any) -> Any:
    """Round float32 values to the nearest bfloat16 value."""
    shifted = ops.multiply(values, ops.constant(np.float32(1 + _SHIFT)))
    return ops.add(shifted, ops.multiply(values, ops.constant(np.float32(-_SHIFT))))


def _converts_to_bfloat16(operation: Any) -> bool:
    types = operation.input(0).get_element_type(), operation.output(0).get_element_type()
    return [each.get_type_name() for each in types] == ["f32", "bf16"]


def _shape_part(shape: Any, start: int, end: int) -> Any:
    """Return the sizes of axes start to end of a shape."""
    return ops.gather(shape, _integers(*range(start, end)), _scalar(0))


def _integers(*values: int) -> Any:
    return ops.constant(np.array(values, np.int64))


def _scalar(value: int) -> Any:
    return ops.constant(np.int64(value))
