"""All numbers of one report, computed from images with detections.

Shape letters: K classes, S score thresholds of a curve, T thresholds of the error kinds.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from object_detection_mtl.config.errors import printable
from object_detection_mtl.evaluation.coco import (
    PREFIX,
    SUMMARY_NAMES,
    CocoEvaluator,
    fastest_backend,
)
from object_detection_mtl.evaluation.evaluator import DetectionEvaluator, names_by_id
from object_detection_mtl.reporting import breakdowns, confusion, mistakes, score_curves
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage, EvaluationSet
from object_detection_mtl.reporting.loss_curves import LossCurve
from object_detection_mtl.reporting.object_matching import MatchTable, match_images
from object_detection_mtl.reporting.refinement_changes import RefinementChanges, refinement_changes
from object_detection_mtl.reporting.tide_errors import TideErrors, tide_errors

IOU_THRESHOLDS = (0.5, 0.75)
ERROR_THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
SCORE_GRID = np.arange(101) / 100


@dataclass(frozen=True)
class ReportOptions:
    """Options of a report.

    Attributes:
        min_score: minimum score of the detections in confusion matrix, recall, missed objects and
            gallery.
        max_gallery_images: maximum number of images in the gallery, those with the most and most
            confident mistakes; None for all.
        max_mistakes: maximum number of images of each kind of mistake.
    """

    min_score: float = 0.5
    max_gallery_images: int | None = 300
    max_mistakes: int = 12

    def __post_init__(self) -> None:
        """Check the values."""
        if not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score is {self.min_score}, expected a score from 0 to 1")
        if self.max_gallery_images is not None and self.max_gallery_images < 0:
            raise ValueError(f"max_gallery_images is {self.max_gallery_images}, expected 0 or more")


@dataclass(frozen=True)
class ClassNumbers:
    """The numbers of one class; NaN where there is nothing to measure.

    Attributes:
        class_id, name: number and name in the label map.
        num_objects: number of objects, without difficult ones, crowds and groups.
        num_detections: number of detections at any score.
        voc_ap: VOC AP at IoU 0.5.
        coco_ap, ap50, ap75, ar100: metrics of COCO.
        curves: IoU threshold -> precision-recall curve.
        best_f1: best F1 at IoU 0.5.
    """

    class_id: int
    name: str
    num_objects: int
    num_detections: int
    voc_ap: float
    coco_ap: float
    ap50: float
    ap75: float
    ar100: float
    curves: dict[float, score_curves.ClassCurve]
    best_f1: score_curves.BestF1


@dataclass(frozen=True)
class ReportContents:
    """All numbers of one report.

    Attributes:
        evaluation: the images.
        options: options of the report.
        table: matches at IoU 0.5.
        classes: numbers of each class, in the order of the label map.
        voc_map: mean of the classes' `voc_ap`.
        coco: COCO's twelve numbers by their names.
        matrix: confusion matrix.
        error_counts: [T, K, 6], counts of the MTL-SSL paper's error types at ERROR_THRESHOLDS.
        tide: costs of TIDE's kinds.
        breakdowns: title -> rows.
        calibration: over all classes.
        confident: kind -> the most confident mistakes.
        missed: size -> number of missed objects, and the largest ones.
        gallery: indices of images, greatest loss first.
        refinement: changes by the refinement; None without main scores.
        figures: further images for the page, such as auxiliary predictions: caption -> PNG.
        more_metrics: further numbers, such as losses.
        loss_curves: losses of the training: title of a chart -> name -> curve.
    """

    evaluation: EvaluationSet
    options: ReportOptions
    table: MatchTable
    classes: list[ClassNumbers]
    voc_map: float
    coco: dict[str, float]
    matrix: confusion.ConfusionMatrix
    error_counts: np.ndarray
    tide: TideErrors
    breakdowns: dict[str, list[breakdowns.BreakdownRow]]
    calibration: score_curves.ScoreCalibration
    confident: dict[str, list[mistakes.Mistake]]
    missed: dict[str, tuple[int, list[mistakes.Mistake]]]
    gallery: list[int]
    refinement: RefinementChanges | None
    figures: dict[str, bytes] = field(default_factory=dict)
    more_metrics: dict[str, float] = field(default_factory=dict)
    loss_curves: dict[str, dict[str, LossCurve]] = field(default_factory=dict)

    @property
    def class_ids(self) -> list[int]:
        """Class numbers in the order of the label map."""
        return [item.class_id for item in self.classes]

    @property
    def names(self) -> dict[int, str]:
        """Class number -> name."""
        return {item.class_id: item.name for item in self.classes}

    def metrics(self) -> dict[str, float]:
        """Return the numbers of all classes together by their names; NaN where unknown."""
        found = {f"{PREFIX}{name}": value for name, value in self.coco.items()}
        found["PascalBoxes_Precision/mAP@0.5IOU"] = self.voc_map
        found |= {f"TIDE/{kind}": value for kind, value in self.tide.costs.items()}
        found["Calibration/ExpectedError"] = self.calibration.error
        return found | self.more_metrics


def report_contents(
    evaluation: EvaluationSet,
    options: ReportOptions | None = None,
    *,
    figures: dict[str, bytes] | None = None,
    more_metrics: dict[str, float] | None = None,
    loss_curves: dict[str, dict[str, LossCurve]] | None = None,
) -> ReportContents:
    """Return all numbers of a report.

    Raises:
        ValueError: there is no class or no image.
    """
    options = options or ReportOptions()
    images = evaluation.images
    if not images:
        raise ValueError(f"{evaluation.name}: no image to report on; expected at least one")
    notes = tuple(map(printable, (*evaluation.notes, *_notes_on_nothing(images))))
    evaluation = dataclasses.replace(evaluation, name=printable(evaluation.name), notes=notes)
    names = names_by_id(evaluation.categories)
    class_ids = list(names)
    tables = {threshold: match_images(images, threshold) for threshold in IOU_THRESHOLDS}
    table = tables[IOU_THRESHOLDS[0]]
    overall, by_class = coco_numbers(evaluation)
    classes = [_class_numbers(i, names[i], tables, by_class[i]) for i in class_ids]
    min_score = options.min_score
    losses = mistakes.image_losses(table, len(images), min_score)
    order = np.argsort(-losses, kind="stable")[: options.max_gallery_images]
    return ReportContents(
        evaluation=evaluation,
        options=options,
        table=table,
        classes=classes,
        voc_map=mean_of_known([item.voc_ap for item in classes]),
        coco=overall,
        matrix=confusion.confusion_matrix(images, table, class_ids, min_score),
        error_counts=mistakes.count_kinds(table, class_ids, ERROR_THRESHOLDS),
        tide=tide_errors(images),
        breakdowns=_breakdowns(table, class_ids, min_score, len(images)),
        calibration=score_curves.calibration(table),
        confident=mistakes.confident_mistakes(table, options.max_mistakes),
        missed=mistakes.missed_objects(table, min_score, options.max_mistakes),
        gallery=order.tolist(),
        refinement=refinement_changes(images, min_score=min_score),
        figures=figures or {},
        more_metrics=more_metrics or {},
        loss_curves=loss_curves or {},
    )


def _notes_on_nothing(images: Sequence[EvaluatedImage]) -> list[str]:
    """Return notes on a ground truth without objects and on missing detections."""
    notes = []
    if not any(len(image.groundtruth.classes) for image in images):
        notes.append("The ground truth has no object: average precision and recall are unknown.")
    if not any(len(image.detections.scores) for image in images):
        notes.append("No image has a detection.")
    return notes


def feed_evaluator(evaluator: DetectionEvaluator, images: Sequence[EvaluatedImage]) -> None:
    """Add all images to an evaluator of `evaluation`."""
    for image in images:
        truth, found = image.groundtruth, image.detections
        evaluator.add_groundtruth(
            image.image_id,
            truth.boxes,
            truth.classes,
            difficult=truth.difficult,
            is_crowd=truth.is_crowd,
            group_of=truth.group_of,
            area=truth.area,
        )
        evaluator.add_detections(image.image_id, found.boxes, found.scores, found.classes)


def coco_numbers(
    evaluation: EvaluationSet,
) -> tuple[dict[str, float], dict[int, dict[str, float]]]:
    """Return COCO's twelve numbers, and those of every class; NaN for nothing to measure."""
    evaluator = CocoEvaluator(
        evaluation.categories, all_metrics_per_category=True, backend=fastest_backend()
    )
    feed_evaluator(evaluator, evaluation.images)
    found = {key: math.nan if value < 0 else value for key, value in evaluator.evaluate().items()}
    overall = {name: found[PREFIX + name] for name in SUMMARY_NAMES}
    by_class = {
        class_id: {
            metric: found[f"{PREFIX}{metric.replace('/', ' ')} ByCategory/{name}"]
            for metric in SUMMARY_NAMES
        }
        for class_id, name in evaluator.names.items()
    }
    return overall, by_class


def _class_numbers(
    class_id: int, name: str, tables: dict[float, MatchTable], coco: dict[str, float]
) -> ClassNumbers:
    curves = {
        threshold: score_curves.class_curve(table, class_id) for threshold, table in tables.items()
    }
    curve = curves[IOU_THRESHOLDS[0]]
    table = tables[IOU_THRESHOLDS[0]]
    return ClassNumbers(
        class_id=class_id,
        name=name,
        num_objects=curve.num_objects,
        num_detections=int(np.count_nonzero(table.classes == class_id)),
        voc_ap=curve.average_precision,
        coco_ap=coco["Precision/mAP"],
        ap50=coco["Precision/mAP@.50IOU"],
        ap75=coco["Precision/mAP@.75IOU"],
        ar100=coco["Recall/AR@100"],
        curves=curves,
        best_f1=score_curves.best_f1(curve),
    )


def _breakdowns(
    table: MatchTable, class_ids: Sequence[int], min_score: float, num_images: int
) -> dict[str, list[breakdowns.BreakdownRow]]:
    arguments = table, class_ids, min_score
    return {
        "Object size": breakdowns.by_size(*arguments),
        "Aspect ratio": breakdowns.by_aspect(*arguments),
        "Objects in the image": breakdowns.by_object_count(*arguments, num_images),
        "Classes in the image": breakdowns.by_class_count(*arguments, num_images),
    }


def mean_of_known(values: Sequence[float]) -> float:
    """Return the mean without NaNs; NaN where nothing is left."""
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
