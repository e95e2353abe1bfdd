"""`EvalConfig` -> evaluators and options."""

import pytest
from google.protobuf import text_format

from object_detection_mtl.builders import eval_config_builder
from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation.checkpoint_evaluation import EvaluationOptions
from object_detection_mtl.protos import eval_pb2

CATEGORIES = [Category(1, "cat", "House cat"), Category(2, "dog", "Dog")]


def parse(text):
    return text_format.Parse(text, eval_pb2.EvalConfig())


def metric_names(text):
    evaluators = eval_config_builder.build_evaluators(parse(text), CATEGORIES)
    names = set()
    for evaluator in evaluators:
        evaluator.add_groundtruth("a", [[0.0, 0.0, 50.0, 50.0]], [1])
        evaluator.add_detections("a", [[0.0, 0.0, 50.0, 50.0]], [0.9], [1])
        names |= set(evaluator.evaluate())
    return names


def test_metrics_sets():
    voc = metric_names('metrics_set: "pascal_voc_detection_metrics"')
    assert "PascalBoxes_Precision/mAP@0.5IOU" in voc
    assert not any(name.startswith("DetectionBoxes") for name in voc)
    both = metric_names(
        'metrics_set: "pascal_voc_detection_metrics" metrics_set: "coco_detection_metrics"'
    )
    assert voc < both
    assert "DetectionBoxes_Precision/mAP" in both
    with pytest.raises(ValueError, match="'map' *; expected one or more of coco_detection_metrics"):
        eval_config_builder.build_evaluators(parse('metrics_set: "map"'), CATEGORIES)


def test_metrics_per_category():
    coco = 'metrics_set: "coco_detection_metrics" '
    name = "DetectionBoxes_PerformanceByCategory/mAP/House cat"
    assert name not in metric_names(coco)
    assert name in metric_names(coco + "include_metrics_per_category: true")


def test_options():
    assert eval_config_builder.build_options(parse("")) == EvaluationOptions(
        num_visualizations=10,
        min_score=0.5,
        max_boxes=20,
        use_moving_averages=False,
    )
    assert eval_config_builder.build_options(
        parse(
            "num_visualizations: 3 min_score_threshold: 0.25 "
            "max_num_boxes_to_visualize: 4 use_moving_averages: true"
        )
    ) == EvaluationOptions(3, 0.25, 4, True)
    assert (
        eval_config_builder.build_options(parse("retain_original_images: false")).num_visualizations
        == 0
    )
