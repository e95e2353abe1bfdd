"""Figures of the auxiliary tasks: predictions beside their labels.

A task returns one of the forms of `mtl.auxiliary_task.Comparison`.

Shape letters: B batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from object_detection_mtl.evaluation.evaluator import CategoryLike, names_by_id
from object_detection_mtl.fields import Batch, Groundtruth
from object_detection_mtl.mtl.auxiliary_task import Comparison, MapComparison
from object_detection_mtl.visualization import prediction_comparison as drawing


def draw_comparisons(
    batch: Mapping[str, Any],
    comparisons: Mapping[str, Comparison],
    categories: Sequence[CategoryLike],
    *,
    batch_number: int = 0,
    max_images: int | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield a sheet for each image of a batch, with a part for each comparison.

    Args:
        batch: as in `loop.visualize_examples`.
        comparisons: caption -> predictions and labels of the batch. If empty, nothing is drawn.
        categories: for the class names.
        batch_number: i of the tag.
        max_images: at most so many of this batch; None for all.

    Yields:
        ('eval_auxiliary_<i>_<j>', sheet [h, w, 3] uint8), j the place in the batch.
    """
    if not comparisons:
        return
    names = names_by_id(categories)
    for j in range(len(batch[Batch.original_images]))[:max_images]:
        height, width = np.asarray(batch[Batch.original_image_shapes][j])[:2]
        image = np.asarray(batch[Batch.original_images][j])[:height, :width]
        count = int(batch[Groundtruth.num_boxes][j])
        boxes = np.asarray(batch[Groundtruth.boxes][j])[:count]
        classes = np.asarray(batch[Groundtruth.classes][j])[:count]
        parts = []
        for title, comparison in comparisons.items():
            values = type(comparison)(*(np.asarray(value[j]) for value in comparison))
            if isinstance(values, MapComparison):
                part = drawing.draw_maps(
                    title, image, label=values.labels, predicted=values.predicted
                )
            else:
                part = drawing.draw_regions(
                    title,
                    image,
                    boxes,
                    classes,
                    regions=values.regions[values.exists],
                    labels=values.labels[values.exists],
                    predicted=values.predicted[values.exists],
                    names=names,
                )
            parts.append(part)
        name = f"image {j} of batch {batch_number}"
        yield f"eval_auxiliary_{batch_number}_{j}", drawing.draw_comparison_sheet(name, parts)
