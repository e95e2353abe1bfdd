"""Sheets of a batch: a part for each comparison, images without padding, the first images."""

import numpy as np

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.auxiliary_figures import draw_comparisons
from object_detection_mtl.fields import Batch, Groundtruth
from object_detection_mtl.mtl.auxiliary_task import MapComparison, RegionComparison
from object_detection_mtl.visualization import prediction_comparison as drawing
from object_detection_mtl.visualization import sheet_layout

CATEGORIES = [Category(1, "cat", "cat"), Category(2, "dog", "dog")]
BATCH = {
    Batch.original_images: np.full([2, 50, 90, 3], 200, np.uint8),
    Batch.original_image_shapes: np.array([[50, 90, 3], [40, 60, 3]]),
    Groundtruth.boxes: np.array([[[0.1, 0.1, 0.5, 0.5], [0, 0, 0, 0]]] * 2),
    Groundtruth.classes: np.array([[2, 0]] * 2),
    Groundtruth.num_boxes: np.array([1, 0]),
}
REGIONS = RegionComparison(
    regions=np.tile([0.0, 0.0, 0.5, 0.5], [2, 3, 1]),
    exists=np.array([[True, True, False], [True, False, False]]),
    labels=np.tile([0.0, 0.5, 0.5], [2, 3, 1]),
    predicted=np.tile([0.0, 1.0, 0.0], [2, 3, 1]),
)
MAPS = MapComparison(labels=np.zeros([2, 8, 8]), predicted=np.full([2, 8, 8], 0.5))


def test_a_sheet_for_each_image(monkeypatch):
    calls = []

    def draw_regions(title, image, boxes, classes, *, regions, labels, predicted, names):
        calls.append((title, image.shape, classes.tolist(), len(regions), names[2]))
        return sheet_layout.caption(title)

    def draw_maps(title, image, *, label, predicted):
        calls.append((title, image.shape, label.shape, predicted.mean()))
        return sheet_layout.caption(title)

    monkeypatch.setattr(drawing, "draw_regions", draw_regions)
    monkeypatch.setattr(drawing, "draw_maps", draw_maps)
    sheets = dict(
        draw_comparisons(BATCH, {"windows": REGIONS, "mask": MAPS}, CATEGORIES, batch_number=3)
    )
    assert list(sheets) == ["eval_auxiliary_3_0", "eval_auxiliary_3_1"]
    assert calls == [
        ("windows", (50, 90, 3), [2], 2, "dog"),
        ("mask", (50, 90, 3), (8, 8), 0.5),
        ("windows", (40, 60, 3), [], 1, "dog"),
        ("mask", (40, 60, 3), (8, 8), 0.5),
    ]


def test_the_first_images_and_nothing_without_tasks():
    sheets = list(draw_comparisons(BATCH, {"mask": MAPS}, CATEGORIES, max_images=1))
    assert [tag for tag, _ in sheets] == ["eval_auxiliary_0_0"]
    assert sheets[0][1].shape[1:] == (sheet_layout.WIDTH, 3)
    assert list(draw_comparisons(BATCH, {}, CATEGORIES)) == []
