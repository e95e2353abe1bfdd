"""Evaluators for the names in `eval_config.metrics_set`."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from object_detection_mtl.config.dialects import OLD_METRICS
from object_detection_mtl.evaluation.coco import CocoEvaluator
from object_detection_mtl.evaluation.error_analysis import ErrorAnalysis
from object_detection_mtl.evaluation.evaluator import CategoryLike, DetectionEvaluator
from object_detection_mtl.evaluation.pascal_voc import PascalVocEvaluator


@dataclass(frozen=True)
class MetricsOptions:
    """Options of the metrics; each metric uses those named in its comment."""

    matching_iou_threshold: float = 0.5  # PASCAL VOC and its variants, error analysis
    nms_iou_threshold: float = 1.0  # PASCAL VOC and its variants; 1 disables suppression
    recall_bounds: tuple[float, float] = (0.0, 1.0)  # precision at recall
    include_metrics_per_category: bool = False  # COCO; PASCAL VOC always includes them
    all_metrics_per_category: bool = False  # COCO
    super_categories: Mapping[str, Sequence[str]] = field(default_factory=dict)  # COCO
    min_score: float = 0.5  # error analysis


Categories = Sequence[CategoryLike]


def _coco(categories: Categories, options: MetricsOptions) -> DetectionEvaluator:
    return CocoEvaluator(
        categories,
        include_metrics_per_category=options.include_metrics_per_category,
        all_metrics_per_category=options.all_metrics_per_category,
        super_categories=options.super_categories,
    )


def _pascal(
    categories: Categories, options: MetricsOptions, **kwargs: object
) -> DetectionEvaluator:
    return PascalVocEvaluator(
        categories,
        options.matching_iou_threshold,
        nms_iou_threshold=options.nms_iou_threshold,
        **kwargs,  # type: ignore[arg-type]
    )


def _weighted_pascal(categories: Categories, options: MetricsOptions) -> DetectionEvaluator:
    return _pascal(categories, options, prefix="WeightedPascalBoxes", weighted=True)


def _precision_at_recall(categories: Categories, options: MetricsOptions) -> DetectionEvaluator:
    return _pascal(
        categories, options, prefix="PrecisionAtRecallBoxes", recall_bounds=options.recall_bounds
    )


def _open_images(categories: Categories, options: MetricsOptions) -> DetectionEvaluator:
    return _pascal(
        categories, options, prefix="OpenImagesV2", use_difficult=False, group_of_weight=0.0
    )


def _open_images_challenge(categories: Categories, options: MetricsOptions) -> DetectionEvaluator:
    return _pascal(
        categories,
        options,
        prefix="OpenImagesDetectionChallenge",
        use_difficult=False,
        group_of_weight=1.0,
        only_image_classes=True,
    )


def _error_analysis(categories: Categories, options: MetricsOptions) -> DetectionEvaluator:
    return ErrorAnalysis(
        categories,
        min_score=options.min_score,
        matching_iou_threshold=options.matching_iou_threshold,
    )


_BUILDERS: dict[str, Callable[[Categories, MetricsOptions], DetectionEvaluator]] = {
    "coco_detection_metrics": _coco,
    "pascal_voc_detection_metrics": _pascal,
    "weighted_pascal_voc_detection_metrics": _weighted_pascal,
    "precision_at_recall_detection_metrics": _precision_at_recall,
    "oid_V2_detection_metrics": _open_images,
    "oid_challenge_detection_metrics": _open_images_challenge,
    "error_analysis": _error_analysis,
}

KNOWN_METRICS_SETS = (*_BUILDERS, *OLD_METRICS)


def make_evaluators(
    metrics_sets: Sequence[str], categories: Categories, options: MetricsOptions | None = None
) -> list[DetectionEvaluator]:
    """Return one evaluator for each name of `metrics_sets`, in order, without duplicates.

    Raises:
        ValueError: a name is unknown (the message lists the known ones), or there are no names.
    """
    unknown = [name for name in metrics_sets if name not in KNOWN_METRICS_SETS]
    if unknown or not metrics_sets:
        raise ValueError(
            f"eval_config.metrics_set: got {', '.join(map(repr, unknown)) or 'no name'}; expected "
            f"one or more of {', '.join(KNOWN_METRICS_SETS)}."
        )
    names = dict.fromkeys(OLD_METRICS.get(name, name) for name in metrics_sets)
    return [_BUILDERS[name](categories, options or MetricsOptions()) for name in names]
