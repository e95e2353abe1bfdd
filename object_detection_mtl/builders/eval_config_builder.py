"""Build evaluators and evaluation options from `EvalConfig`."""

from __future__ import annotations

from collections.abc import Sequence

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.checkpoint_evaluation import EvaluationOptions
from object_detection_mtl.evaluation.evaluator import DetectionEvaluator
from object_detection_mtl.evaluation.metrics_sets import MetricsOptions, make_evaluators
from object_detection_mtl.protos import eval_pb2


def build_evaluators(
    config: eval_pb2.EvalConfig, categories: Sequence[Category]
) -> list[DetectionEvaluator]:
    """Return one evaluator per name in `metrics_set`.

    Args:
        config: with `metrics_set`.
        categories: the classes.

    Raises:
        ValueError: a name is unknown.
    """
    options = MetricsOptions(
        include_metrics_per_category=config.include_metrics_per_category,
        all_metrics_per_category=config.all_metrics_per_category,
        recall_bounds=(config.recall_lower_bound, config.recall_upper_bound),
    )
    return make_evaluators(config.metrics_set, categories, options)


def build_options(config: eval_pb2.EvalConfig) -> EvaluationOptions:
    """Return the options of an evaluation."""
    return EvaluationOptions(
        num_visualizations=config.num_visualizations if config.retain_original_images else 0,
        min_score=config.min_score_threshold,
        max_boxes=config.max_num_boxes_to_visualize,
        use_moving_averages=config.use_moving_averages,
    )
