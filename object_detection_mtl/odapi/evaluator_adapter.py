"""Evaluators with the OD API's methods.

Shape letters: G ground-truth boxes, D detections of one image. Boxes are in pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.evaluator import DetectionEvaluator
from object_detection_mtl.odapi.core.standard_fields import (
    DetectionResultFields,
    InputDataFields,
)

_logger = logging.getLogger(__name__)


def categories_of(dictionaries: Sequence[Mapping[str, Any]]) -> list[Category]:
    """Return the categories of `label_map_util` as those of evaluators."""
    return [
        Category(int(category["id"]), str(category["name"]), str(category["name"]))
        for category in dictionaries
    ]


class EvaluatorAdapter:
    """Base class: ground truth and detections as dictionaries, one image at a time."""

    def __init__(self, evaluator: DetectionEvaluator) -> None:
        """Wrap an evaluator."""
        self._evaluator = evaluator
        self._with_detections: set[Hashable] = set()
        self._images: set[Hashable] = set()

    def add_single_ground_truth_image_info(
        self, image_id: Hashable, groundtruth_dict: Mapping[str, Any]
    ) -> None:
        """Add the objects of an image; a second time it is ignored with a warning.

        Args:
            image_id: unique for each image.
            groundtruth_dict: `groundtruth_boxes` [G, 4] and `groundtruth_classes` [G]; optional
                `groundtruth_difficult`, `groundtruth_is_crowd`, `groundtruth_group_of`,
                `groundtruth_area` and, [V], `groundtruth_image_classes`.
        """
        if image_id in self._images:
            _logger.warning("image %r: its ground truth was already added", image_id)
            return
        fields = InputDataFields
        optional = {
            "difficult": fields.groundtruth_difficult,
            "is_crowd": fields.groundtruth_is_crowd,
            "group_of": fields.groundtruth_group_of,
            "area": fields.groundtruth_area,
            "image_classes": fields.groundtruth_image_classes,
        }
        given = {name: _array(groundtruth_dict.get(key)) for name, key in optional.items()}
        self._evaluator.add_groundtruth(
            image_id,
            _array(groundtruth_dict[fields.groundtruth_boxes]),
            _array(groundtruth_dict[fields.groundtruth_classes]),
            # The OD API takes an empty list for unknown flags.
            **{name: values for name, values in given.items() if np.size(values)},
        )
        self._images.add(image_id)

    def add_single_detected_image_info(
        self, image_id: Hashable, detections_dict: Mapping[str, Any]
    ) -> None:
        """Add the detections of an image; a second time they are ignored with a warning.

        Args:
            image_id: an image whose ground truth was added.
            detections_dict: `detection_boxes` [D, 4], `detection_scores` [D] and
                `detection_classes` [D].

        Raises:
            ValueError: the image has no ground truth.
        """
        if image_id in self._with_detections:
            _logger.warning("image %r: its detections were already added", image_id)
            return
        fields = DetectionResultFields
        self._evaluator.add_detections(
            image_id,
            _array(detections_dict[fields.detection_boxes]),
            _array(detections_dict[fields.detection_scores]),
            _array(detections_dict[fields.detection_classes]),
        )
        self._with_detections.add(image_id)

    def evaluate(self) -> dict[str, float]:
        """Return the metrics of all images, by name."""
        return self._evaluator.evaluate()

    def clear(self) -> None:
        """Remove all images."""
        self._evaluator.clear()
        self._images.clear()
        self._with_detections.clear()


def _array(values: Any) -> Any:
    return None if values is None else np.asarray(values)
