"""How OpenVINO computes the suppression that `ops.suppression.select_by_openvino` asks for.

Shape letters: R pictures of one class, N candidate boxes, S most boxes kept, M kept in all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from openvino import opset13 as ops  # an extra: only `openvino` imports this
from openvino.frontend.tensorflow import ConversionExtension

from object_detection_mtl.export.formats.openvino_gather import gather_rows

OPERATION = "CombinedNonMaxSuppression"
# Below every score but that of no candidate, -inf.
_LOWEST = np.finfo(np.float32).min


def extension() -> Any:
    """For a frontend of OpenVINO."""
    return ConversionExtension(OPERATION, _suppression)


def _suppression(operation: Any) -> list[Any]:
    """Answers with boxes [R, S, 4], scores [R, S], rows [R, S] and counts [R]."""
    boxes = ops.squeeze(operation.get_input(0), _integers(2)).output(0)  # [R, N, 4]
    scores = ops.squeeze(operation.get_input(1), _integers(2)).output(0)  # [R, N]
    most = ops.convert(operation.get_input(2), "i64")
    threshold = operation.get_input(4).get_node().data  # frozen graphs have constants
    chosen = ops.non_max_suppression(
        boxes,
        ops.unsqueeze(scores, _integers(1)),
        most,
        # OpenVINO's kernel lets go of a box that equals the threshold, TensorFlow's does not.
        ops.constant(np.nextafter(threshold, np.float32(np.inf), dtype=np.float32)),
        ops.constant(_LOWEST),
        box_encoding="corner",
        sort_result_descending=False,  # picture by picture, each by score
        output_type="i64",
    ).output(0)  # [M, 3]: picture, class, row
    places, is_kept, counts = _places(chosen, scores, most)
    # One row more: what is not kept has to be somewhere.
    rows = ops.concat([ops.gather(chosen, _scalar(2), _scalar(1)), _integers(0)], 0)  # [M + 1]
    rows = ops.gather(rows, places, _scalar(0))  # [R, S]
    kept_scores = ops.select(
        is_kept,
        gather_rows(scores, rows.output(0), 1),
        ops.constant(np.float32("-inf")),
    )
    kept_boxes = gather_rows(boxes, rows.output(0), 1)
    return [node.output(0) for node in (kept_boxes, kept_scores, ops.convert(rows, "f32"), counts)]


def _places(chosen: Any, scores: Any, most: Any) -> tuple[Any, Any, Any]:
    """Where in chosen [M, 3] the boxes are [R, S], M in padding; what is none; counts [R]."""
    picture = ops.gather(chosen, _scalar(0), _scalar(1))  # [M]
    number = ops.gather(ops.shape_of(chosen), _scalar(0), _scalar(0))
    num_pictures = ops.gather(ops.shape_of(scores), _scalar(0), _scalar(0))
    pictures = ops.range(_scalar(0), num_pictures, _scalar(1), "i64")
    is_of = ops.convert(ops.equal(ops.unsqueeze(pictures, _integers(1)), picture), "i32")  # [R, M]
    counts = ops.reduce_sum(is_of, _integers(1))
    starts = ops.convert(ops.cum_sum(counts, _scalar(0), exclusive=True), "i64")
    ranks = ops.range(_scalar(0), most, _scalar(1), "i64")  # [S]
    is_kept = ops.less(ranks, ops.unsqueeze(ops.convert(counts, "i64"), _integers(1)))
    places = ops.add(ops.unsqueeze(starts, _integers(1)), ranks)
    return ops.select(is_kept, places, number), is_kept, counts


def _integers(*values: int) -> Any:
    return ops.constant(np.array(values, np.int64))


def _scalar(value: int) -> Any:
    return ops.constant(np.int64(value))
