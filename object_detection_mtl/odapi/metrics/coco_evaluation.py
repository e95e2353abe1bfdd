"""COCO metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from object_detection_mtl.evaluation.coco import CocoEvaluator
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.odapi.evaluator_adapter import EvaluatorAdapter, categories_of

__getattr__ = missing_names.module_getattr(__name__)


class CocoDetectionEvaluator(EvaluatorAdapter):
    """The twelve COCO metrics, `DetectionBoxes_Precision/mAP` and so on."""

    def __init__(
        self,
        categories: Sequence[Mapping[str, Any]],
        include_metrics_per_category: bool = False,
        all_metrics_per_category: bool = False,
        skip_predictions_for_unlabeled_class: bool = False,
        super_categories: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Make the evaluator.

        Args:
            categories: of `label_map_util`.
            include_metrics_per_category: add the mAP of each class.
            all_metrics_per_category: add all metrics of each class.
            skip_predictions_for_unlabeled_class: unsupported.
            super_categories: name of a group -> names of its classes.

        Raises:
            ValueError: an unsupported option.
        """
        if skip_predictions_for_unlabeled_class:
            raise ValueError("skip_predictions_for_unlabeled_class is unsupported; omit it")
        evaluator = CocoEvaluator(
            categories_of(categories),
            include_metrics_per_category=include_metrics_per_category,
            all_metrics_per_category=all_metrics_per_category,
            super_categories=super_categories or {},
        )
        super().__init__(evaluator)
