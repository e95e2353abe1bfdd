"""PASCAL VOC detection metrics with the names and conventions of the OD API.

Average precision is the area under the interpolated precision-recall curve at every recall where
it changes (VOC 2010 and later, not the 11 points of VOC 2007). A detection is matched to the object
of its class with the highest overlap. If the overlap reaches the threshold, the detection with the
highest score for this object is a true positive and every further one a false positive. Difficult
objects and detections matched to them are ignored.

Detections with equal scores rank in the order in which they were added. The OD API uses an unstable
sort, so its numbers can differ where scores are equal.

Shape letters: G ground-truth boxes, D detections of one image; N detections of all images.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.evaluation.evaluator import (
    CategoryLike,
    DetectionEvaluator,
    ImageGroundtruth,
)
from object_detection_mtl.inference.image_detections import ImageDetections


class Judged(NamedTuple):
    """Detections without the ignored ones."""

    scores: np.ndarray  # [N]
    classes: np.ndarray  # [N] int64
    hits: np.ndarray  # [N] 1 for a true positive, 0 for a false one, else the weight of a group


class Curve(NamedTuple):
    """Precision and recall after each detection of one class, in descending score order."""

    precision: np.ndarray  # [N]
    recall: np.ndarray  # [N]


def precision_recall(scores: np.ndarray, hits: np.ndarray, num_groundtruth: float) -> Curve:
    """Return the precision-recall curve of N detections.

    Args:
        scores: [N]; detections with equal scores keep their order.
        hits: [N], greater than 0 for true positives.
        num_groundtruth: positive number of objects.
    """
    order = np.argsort(-scores, kind="stable")
    hits = hits[order].astype(np.float64)
    true_positives = np.cumsum(hits)
    false_positives = np.cumsum(hits <= 0)
    return Curve(
        true_positives / (true_positives + false_positives), true_positives / num_groundtruth
    )


def average_precision(precision: np.ndarray, recall: np.ndarray) -> float:
    """Return the area under the curve with non-increasing precision; 0 for an empty curve."""
    recall = np.concatenate([[0.0], recall])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope))


def suppress(detections: ImageDetections, iou_threshold: float) -> ImageDetections:
    """Return the detections of one image after greedy non-maximum suppression per class."""
    order = np.argsort(-detections.scores, kind="stable")
    boxes, classes = detections.boxes[order], detections.classes[order]
    too_close = box_overlaps.iou(boxes, boxes) > iou_threshold
    too_close &= classes[:, np.newaxis] == classes
    alive = np.ones(len(order), dtype=bool)
    for row in range(len(order)):
        if alive[row]:
            alive[row + 1 :] &= ~too_close[row, row + 1 :]
    return detections.rows(order[alive])


def _best_of_class(table: np.ndarray, classes: np.ndarray, others: np.ndarray) -> tuple:
    """Return per row of `table` [D, G] the best column of its class and the value (-1: none)."""
    if table.shape[1] == 0:
        return np.zeros(len(table), dtype=np.int64), np.full(len(table), -1.0)
    table = np.where(classes[:, np.newaxis] == others, table, -1.0)
    best = np.argmax(table, axis=1)
    return best, table[np.arange(len(table)), best]


def judge(
    groundtruth: ImageGroundtruth,
    detections: ImageDetections,
    *,
    iou_threshold: float,
    group_of_weight: float | None = None,
) -> Judged:
    """Classify the detections of one image as true or false positives; drop ignored ones.

    Args:
        groundtruth: the objects of the image, all classes.
        detections: its detections, all classes.
        iou_threshold: minimum overlap of a true positive with its object.
        group_of_weight: None treats a box around a group as an ordinary object (PASCAL VOC).
            Otherwise a detection that is not a true positive and has at least `iou_threshold` of
            its area in a group of its class is ignored; with a positive weight each detected group
            adds one hit of that weight (Open Images).
    """
    order = np.argsort(-detections.scores, kind="stable")
    boxes, scores = detections.boxes[order], detections.scores[order].astype(np.float64)
    classes = detections.classes[order]
    groups = groundtruth.group_of & (group_of_weight is not None)

    single = np.flatnonzero(~groups)
    table = box_overlaps.iou(boxes, groundtruth.boxes[single])
    best, overlap = _best_of_class(table, classes, groundtruth.classes[single])
    matched = overlap >= iou_threshold
    ignored = np.zeros(len(order), dtype=bool)
    ignored[matched] = groundtruth.difficult[single[best[matched]]]
    claims = np.flatnonzero(matched & ~ignored)
    hits = np.zeros(len(order))
    hits[claims[np.unique(best[claims], return_index=True)[1]]] = 1.0

    if not groups.any():
        return Judged(scores[~ignored], classes[~ignored], hits[~ignored])
    members = np.flatnonzero(groups)
    table = box_overlaps.covered_fraction(boxes, groundtruth.boxes[members])
    best, share = _best_of_class(table, classes, groundtruth.classes[members])
    grouped = (share >= iou_threshold) & (hits == 0) & ~ignored
    kept = ~ignored & ~grouped
    judged = Judged(scores[kept], classes[kept], hits[kept])
    if not group_of_weight:
        return judged
    # Rows are sorted by score, so the first detection of a group is its best one.
    rows = np.flatnonzero(grouped)
    rows = rows[np.unique(best[rows], return_index=True)[1]]
    found = Judged(scores[rows], classes[rows], np.full(len(rows), group_of_weight))
    return Judged(*(np.concatenate(parts) for parts in zip(judged, found, strict=True)))


def _mean_of_known(values: Sequence[float]) -> float:
    """Return the mean of the values that are not NaN; NaN without such values."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


class PascalVocEvaluator(DetectionEvaluator):
    """Mean average precision at one IoU threshold, and the average precision of every class.

    The average precision of a class without (counted) objects is NaN; the mean ignores it.

    Args:
        categories: the classes.
        matching_iou_threshold: in (0, 1].
        nms_iou_threshold: IoU of the suppression within a class before matching; 1 disables it.
        prefix: prefix of every metric name, "" for none.
        weighted: the mean is the average precision of all classes' detections taken together.
        evaluate_corloc: add CorLoc, the fraction of a class's images whose best detection is
            correct.
        recall_bounds: only points of the curve with a recall inside count.
        use_difficult: False treats difficult objects as ordinary ones.
        group_of_weight: see `judge`.
        only_image_classes: detections of a class that annotators did not look for in the image,
            and that no object there has, are ignored (Open Images' challenge).
    """

    def __init__(
        self,
        categories: Sequence[CategoryLike],
        matching_iou_threshold: float = 0.5,
        *,
        nms_iou_threshold: float = 1.0,
        prefix: str = "PascalBoxes",
        weighted: bool = False,
        evaluate_corloc: bool = False,
        recall_bounds: tuple[float, float] = (0.0, 1.0),
        use_difficult: bool = True,
        group_of_weight: float | None = None,
        only_image_classes: bool = False,
    ):
        super().__init__(categories)
        if not 0 < matching_iou_threshold <= 1:
            raise ValueError(
                f"matching_iou_threshold must be in (0, 1], got {matching_iou_threshold}"
            )
        if not 0 <= nms_iou_threshold <= 1:
            raise ValueError(f"nms_iou_threshold must be in [0, 1], got {nms_iou_threshold}")
        if not 0 <= recall_bounds[0] < recall_bounds[1] <= 1:
            raise ValueError(f"recall_bounds must be 0 <= lower < upper <= 1, got {recall_bounds}")
        self._iou_threshold = float(matching_iou_threshold)
        self._nms_iou_threshold = float(nms_iou_threshold)
        self._prefix = f"{prefix}_" if prefix else ""
        self._weighted = weighted
        self._evaluate_corloc = evaluate_corloc
        self._recall_bounds = (float(recall_bounds[0]), float(recall_bounds[1]))
        self._use_difficult = use_difficult
        self._group_of_weight = group_of_weight
        self._only_image_classes = only_image_classes

    def evaluate(self) -> dict[str, float]:
        """Return the mean and the metric of every category, as in the OD API.

        Names: `<prefix>_Precision/mAP@<t>IOU`, `<prefix>_PerformanceByCategory/AP@<t>IOU/<name>`.
        """
        judged, num_groundtruth = self.judge_all()
        precisions = {}
        for category_id in self.names:
            curve = self._curve(judged, [category_id], num_groundtruth)
            precisions[category_id] = average_precision(*curve) if curve else float("nan")
        mean = _mean_of_known(list(precisions.values()))
        if self._weighted:
            countable = [i for i in self.names if num_groundtruth[i] > 0]
            curve = self._curve(judged, countable, num_groundtruth)
            mean = average_precision(*curve) if curve else float("nan")

        # A float32 threshold may be 0.30000001; the metric's name has 0.3.
        at = f"@{float(f'{self._iou_threshold:.6g}')}IOU"
        lower, upper = self._recall_bounds
        within = "" if (lower, upper) == (0.0, 1.0) else f"@[{lower:.1f},{upper:.1f}]Recall"
        metrics = {f"{self._prefix}Precision/mAP{at}{within}": mean}
        per_category = f"{self._prefix}PerformanceByCategory/"
        corloc = self._corloc() if self._evaluate_corloc else {}
        if corloc:
            metrics[f"{self._prefix}Precision/meanCorLoc{at}"] = _mean_of_known(
                list(corloc.values())
            )
        for category_id, name in self.names.items():
            metrics[f"{per_category}AP{at}/{name}"] = precisions[category_id]
            if corloc:
                metrics[f"{per_category}CorLoc{at}/{name}"] = corloc[category_id]
        return metrics

    def curves(self) -> dict[int, Curve]:
        """Return the precision-recall curve of every category with objects, by category id."""
        judged, num_groundtruth = self.judge_all()
        curves = {i: self._curve(judged, [i], num_groundtruth) for i in self.names}
        return {i: curve for i, curve in curves.items() if curve is not None}

    def _prepared(self, groundtruth: ImageGroundtruth, detections: ImageDetections) -> tuple:
        """Return the image without empty boxes and suppressed detections, and with its flags."""
        if not self._use_difficult:
            ordinary = np.zeros_like(groundtruth.difficult)
            groundtruth = dataclasses.replace(groundtruth, difficult=ordinary)
        valid = np.all(detections.boxes[:, :2] < detections.boxes[:, 2:], axis=1)
        if self._only_image_classes:
            looked_for = np.union1d(groundtruth.image_classes, groundtruth.classes)
            valid &= np.isin(detections.classes, looked_for)
        detections = detections.rows(valid)
        if self._nms_iou_threshold < 1:
            detections = suppress(detections, self._nms_iou_threshold)
        return groundtruth, detections

    def judge_all(self) -> tuple[Judged, np.ndarray]:
        """Return all images' judged detections, and the number of objects by class id."""
        parts = [Judged(np.zeros(0), np.zeros(0, dtype=np.int64), np.zeros(0))]
        num_groundtruth = np.zeros(max(self.names) + 1)
        for image in self._images():
            groundtruth, detections = self._prepared(*image)
            weight = np.where(
                groundtruth.group_of & (self._group_of_weight is not None),
                self._group_of_weight or 0.0,
                1.0,
            )
            np.add.at(num_groundtruth, groundtruth.classes, weight * ~groundtruth.difficult)
            parts.append(
                judge(
                    groundtruth,
                    detections,
                    iou_threshold=self._iou_threshold,
                    group_of_weight=self._group_of_weight,
                )
            )
        return Judged(
            *(np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        ), num_groundtruth

    def _curve(
        self, judged: Judged, category_ids: list[int], num_groundtruth: np.ndarray
    ) -> Curve | None:
        """Return the joint curve of some categories within the recall bounds; None if empty."""
        total = float(num_groundtruth[category_ids].sum())
        if total == 0:
            return None
        chosen = np.isin(judged.classes, category_ids)
        curve = precision_recall(judged.scores[chosen], judged.hits[chosen], total)
        lower, upper = self._recall_bounds
        inside = (curve.recall >= lower) & (curve.recall <= upper)
        return Curve(curve.precision[inside], curve.recall[inside])

    def _corloc(self) -> dict[int, float]:
        """Return per category the fraction of its images with a correct best detection.

        Difficult objects and groups count as ordinary ones.
        """
        images = np.zeros(max(self.names) + 1)
        correct = np.zeros(max(self.names) + 1)
        for image in self._images():
            groundtruth, detections = self._prepared(*image)
            present = np.unique(groundtruth.classes)
            images[present] += 1
            order = np.argsort(-detections.scores, kind="stable")
            found, first = np.unique(detections.classes[order], return_index=True)
            table = box_overlaps.iou(detections.boxes[order[first]], groundtruth.boxes)
            _, overlap = _best_of_class(table, found, groundtruth.classes)
            correct[found[overlap >= self._iou_threshold]] += 1
        return {i: correct[i] / images[i] if images[i] else float("nan") for i in self.names}
