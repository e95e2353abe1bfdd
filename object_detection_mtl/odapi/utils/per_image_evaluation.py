"""True and false positives of one image.

Shape letters: G ground-truth boxes, D detections, K classes numbered from 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from object_detection_mtl.evaluation import pascal_voc
from object_detection_mtl.evaluation.evaluator import ImageGroundtruth
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.odapi import missing_names

__getattr__ = missing_names.module_getattr(__name__)


class PerImageEvaluation:
    """Matches the detections of an image with its objects."""

    def __init__(
        self,
        num_groundtruth_classes: int,
        matching_iou_threshold: float = 0.5,
        nms_iou_threshold: float = 0.3,
        nms_max_output_boxes: int = 50,
        group_of_weight: float = 0.0,
    ) -> None:
        """Make the evaluation.

        Args:
            num_groundtruth_classes: K.
            matching_iou_threshold: minimum IoU of a true positive.
            nms_iou_threshold: suppression within a class before matching; 1 for none.
            nms_max_output_boxes: maximum number of detections of a class.
            group_of_weight: see `evaluation.pascal_voc.judge`.
        """
        self._num_classes = num_groundtruth_classes
        self._iou_threshold = matching_iou_threshold
        self._nms_iou_threshold = nms_iou_threshold
        self._max_boxes = nms_max_output_boxes
        self._group_of_weight = group_of_weight

    def compute_object_detection_metrics(
        self,
        detected_boxes: Any,
        detected_scores: Any,
        detected_class_labels: Any,
        groundtruth_boxes: Any,
        groundtruth_class_labels: Any,
        groundtruth_is_difficult_list: Any,
        groundtruth_is_group_of_list: Any,
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Return scores and labels of the detections of each class, and which classes are found.

        Args:
            detected_boxes: [D, 4].
            detected_scores: [D].
            detected_class_labels: [D].
            groundtruth_boxes: [G, 4].
            groundtruth_class_labels: [G].
            groundtruth_is_difficult_list: [G].
            groundtruth_is_group_of_list: [G].

        Returns:
            K arrays of scores in descending order; K arrays that are true for true positives; and
            1 for each class [K] whose best detection is correct.
        """
        groundtruth = ImageGroundtruth(
            boxes=np.asarray(groundtruth_boxes, np.float64).reshape(-1, 4),
            classes=np.asarray(groundtruth_class_labels, np.int64),
            difficult=np.asarray(groundtruth_is_difficult_list, bool),
            is_crowd=np.zeros(len(groundtruth_class_labels), bool),
            group_of=np.asarray(groundtruth_is_group_of_list, bool),
            area=np.zeros(len(groundtruth_class_labels)),
        )
        detections = ImageDetections(
            np.asarray(detected_boxes, np.float64).reshape(-1, 4),
            np.asarray(detected_scores, np.float64),
            np.asarray(detected_class_labels, np.int64),
        )
        found = [self._of_class(groundtruth, detections, i) for i in range(self._num_classes)]
        correct = [bool(len(judged.hits) and judged.hits[0] > 0) for judged in found]
        return (
            [judged.scores for judged in found],
            [judged.hits > 0 for judged in found],
            np.array(correct, dtype=np.int64),
        )

    def _of_class(
        self, groundtruth: ImageGroundtruth, detections: ImageDetections, number: int
    ) -> pascal_voc.Judged:
        chosen = detections.rows(detections.classes == number)
        if self._nms_iou_threshold < 1:
            chosen = pascal_voc.suppress(chosen, self._nms_iou_threshold)
        return pascal_voc.judge(
            groundtruth,
            chosen.rows(np.argsort(-chosen.scores, kind="stable")[: self._max_boxes]),
            iou_threshold=self._iou_threshold,
            group_of_weight=self._group_of_weight,
        )
