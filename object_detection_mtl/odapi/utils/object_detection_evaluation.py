"""PASCAL VOC and Open Images metrics.

Shape letters: G ground-truth boxes, D detections of one image, K classes.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.pascal_voc import PascalVocEvaluator
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.odapi.evaluator_adapter import EvaluatorAdapter, categories_of

__getattr__ = missing_names.module_getattr(__name__)


class ObjectDetectionEvaluator(EvaluatorAdapter):
    """Mean average precision at one IoU threshold, and the average precision of each class."""

    def __init__(
        self,
        categories: Sequence[Mapping[str, Any]],
        matching_iou_threshold: float = 0.5,
        recall_lower_bound: float = 0.0,
        recall_upper_bound: float = 1.0,
        evaluate_corlocs: bool = False,
        evaluate_precision_recall: bool = False,
        metric_prefix: str | None = None,
        use_weighted_mean_ap: bool = False,
        evaluate_masks: bool = False,
        group_of_weight: float = 0.0,
        nms_iou_threshold: float = 1.0,
        nms_max_output_boxes: int = 10000,
    ) -> None:
        """Make the evaluator.

        Args:
            categories: of `label_map_util`.
            matching_iou_threshold: minimum IoU of a true positive.
            recall_lower_bound: only points of the curve with a recall from here on count.
            recall_upper_bound: upper bound of the recall.
            evaluate_corlocs: add CorLoc.
            evaluate_precision_recall: unsupported.
            metric_prefix: start of the metrics' names.
            use_weighted_mean_ap: the mean is that of all classes' detections together.
            evaluate_masks: unsupported.
            group_of_weight: see `evaluation.pascal_voc.judge`.
            nms_iou_threshold: suppression before matching; 1 for none.
            nms_max_output_boxes: has no effect.

        Raises:
            ValueError: an unsupported option.
        """
        for name, value in (
            ("evaluate_masks", evaluate_masks),
            ("evaluate_precision_recall", evaluate_precision_recall),
        ):
            if value:
                raise ValueError(f"{name} is unsupported; omit it")
        evaluator = PascalVocEvaluator(
            categories_of(categories),
            matching_iou_threshold,
            nms_iou_threshold=nms_iou_threshold,
            prefix=(metric_prefix or "").rstrip("_"),
            weighted=use_weighted_mean_ap,
            evaluate_corloc=evaluate_corlocs,
            recall_bounds=(recall_lower_bound, recall_upper_bound),
            group_of_weight=group_of_weight,
        )
        super().__init__(evaluator)


class PascalDetectionEvaluator(ObjectDetectionEvaluator):
    """The metrics under the names `PascalBoxes_...`."""

    def __init__(
        self,
        categories: Sequence[Mapping[str, Any]],
        matching_iou_threshold: float = 0.5,
        nms_iou_threshold: float = 1.0,
        nms_max_output_boxes: int = 10000,
    ) -> None:
        """Make the evaluator; see `ObjectDetectionEvaluator`."""
        super().__init__(
            categories,
            matching_iou_threshold,
            metric_prefix="PascalBoxes",
            nms_iou_threshold=nms_iou_threshold,
        )


class OpenImagesDetectionEvaluator(ObjectDetectionEvaluator):
    """The metrics of Open Images V2 under the names `OpenImagesV2_...`, with group-of boxes."""

    def __init__(
        self,
        categories: Sequence[Mapping[str, Any]],
        matching_iou_threshold: float = 0.5,
        evaluate_masks: bool = False,
        evaluate_corlocs: bool = False,
        metric_prefix: str = "OpenImagesV2",
        group_of_weight: float = 0.0,
    ) -> None:
        """Make the evaluator; see `ObjectDetectionEvaluator`."""
        super().__init__(
            categories,
            matching_iou_threshold,
            evaluate_corlocs=evaluate_corlocs,
            metric_prefix=metric_prefix,
            evaluate_masks=evaluate_masks,
            group_of_weight=group_of_weight,
        )


class ObjectDetectionEvalMetrics(NamedTuple):
    """Result of `ObjectDetectionEvaluation.evaluate`."""

    average_precisions: np.ndarray
    mean_ap: float
    precisions: list[np.ndarray]
    recalls: list[np.ndarray]
    corlocs: np.ndarray
    mean_corloc: float


class ObjectDetectionEvaluation:
    """The metrics of classes that are numbered from `label_id_offset`."""

    def __init__(
        self,
        num_groundtruth_classes: int,
        matching_iou_threshold: float = 0.5,
        nms_iou_threshold: float = 1.0,
        nms_max_output_boxes: int = 10000,
        recall_lower_bound: float = 0.0,
        recall_upper_bound: float = 1.0,
        use_weighted_mean_ap: bool = False,
        label_id_offset: int = 0,
        group_of_weight: float = 0.0,
    ) -> None:
        """Make the evaluation; see `ObjectDetectionEvaluator`.

        Args:
            num_groundtruth_classes: K.
            matching_iou_threshold: minimum IoU of a true positive.
            nms_iou_threshold: suppression before matching; 1 for none.
            nms_max_output_boxes: has no effect.
            recall_lower_bound: lower bound of the recall.
            recall_upper_bound: upper bound of the recall.
            use_weighted_mean_ap: the mean is that of all classes' detections together.
            label_id_offset: number of the first class.
            group_of_weight: see `evaluation.pascal_voc.judge`.
        """
        self._offset = 1 - label_id_offset  # this package's ids start at 1
        self._names = [str(number) for number in range(1, num_groundtruth_classes + 1)]
        self._evaluator = PascalVocEvaluator(
            [Category(int(name), name, name) for name in self._names],
            matching_iou_threshold,
            nms_iou_threshold=nms_iou_threshold,
            prefix="",
            weighted=use_weighted_mean_ap,
            evaluate_corloc=True,
            recall_bounds=(recall_lower_bound, recall_upper_bound),
            group_of_weight=group_of_weight,
        )

    def add_single_ground_truth_image_info(
        self,
        image_key: Hashable,
        groundtruth_boxes: Any,
        groundtruth_class_labels: Any,
        groundtruth_is_difficult_list: Any = None,
        groundtruth_is_group_of_list: Any = None,
    ) -> None:
        """Add the objects of an image: boxes [G, 4] and classes [G]."""
        self._evaluator.add_groundtruth(
            image_key,
            groundtruth_boxes,
            np.asarray(groundtruth_class_labels) + self._offset,
            difficult=groundtruth_is_difficult_list,
            group_of=groundtruth_is_group_of_list,
        )

    def add_single_detected_image_info(
        self,
        image_key: Hashable,
        detected_boxes: Any,
        detected_scores: Any,
        detected_class_labels: Any,
    ) -> None:
        """Add the detections of an image: boxes [D, 4], scores [D] and classes [D]."""
        classes = np.asarray(detected_class_labels) + self._offset
        self._evaluator.add_detections(image_key, detected_boxes, detected_scores, classes)

    def evaluate(self) -> ObjectDetectionEvalMetrics:
        """Return the metrics of all images; NaN for a class without objects."""
        metrics = self._evaluator.evaluate()
        curves = self._evaluator.curves()

        def of_classes(kind: str) -> np.ndarray:
            found = {
                name.rsplit("/", 1)[1]: value
                for name, value in metrics.items()
                if name.startswith(f"PerformanceByCategory/{kind}@")
            }
            return np.array([found[name] for name in self._names])

        def mean(kind: str) -> float:
            return next(v for name, v in metrics.items() if name.startswith(f"Precision/{kind}@"))

        return ObjectDetectionEvalMetrics(
            average_precisions=of_classes("AP"),
            mean_ap=mean("mAP"),
            precisions=[curves[i].precision for i in sorted(curves)],
            recalls=[curves[i].recall for i in sorted(curves)],
            corlocs=of_classes("CorLoc"),
            mean_corloc=mean("meanCorLoc"),
        )

    def clear_detections(self) -> None:
        """Remove the detections; the ground truth stays."""
        self._evaluator.clear_detections()
