"""Accuracy control of a quantization, from the evaluation records of a configuration."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from object_detection_mtl.builders import eval_config_builder, input_reader_builder
from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation import checkpoint_evaluation, model_evaluation
from object_detection_mtl.evaluation.evaluation_loop import evaluate_detections
from object_detection_mtl.export.calibration import AccuracyControl
from object_detection_mtl.export.runtimes.runtime_choice import ModelFunction
from object_detection_mtl.inference import runtime_predictor
from object_detection_mtl.protos import eval_pb2, pipeline_pb2

METRIC = "PascalBoxes_Precision/mAP@0.5IOU"
_METRICS_SET = "pascal_voc_detection_metrics"


def build_accuracy_control(
    config: pipeline_pb2.TrainEvalPipelineConfig, max_drop: float
) -> AccuracyControl:
    """Return the accuracy control by mAP@0.5 on a configuration's first eval_input_reader.

    Args:
        config: Resolved.
        max_drop: Maximum drop of mAP@0.5, from 0 to 1.

    Raises:
        ConfigError, ValueError, FileNotFoundError: The config or one of its files is unusable.
    """
    reader, num_classes = config.eval_input_reader[0], config.model.faster_rcnn.num_classes
    input_reader_builder.examine_records(reader, config.model.faster_rcnn, is_training=False)
    categories = input_reader_builder.load_label_map(reader, num_classes) or [
        Category(number, str(number), str(number)) for number in range(1, num_classes + 1)
    ]
    examples: Any = input_reader_builder.build_dataset(
        reader,
        preprocess_fn=model_evaluation.keep_image,
        num_classes=num_classes,
        batch_size=1,
        is_training=False,
        retain_original_images=True,
    )
    if config.model.faster_rcnn.number_of_stages == 1:
        categories = [checkpoint_evaluation.OBJECT]
        examples = checkpoint_evaluation.as_objects(examples)
    metrics = eval_pb2.EvalConfig(metrics_set=[_METRICS_SET])

    def score(run: ModelFunction, some: Iterable[Any]) -> float:
        evaluators = eval_config_builder.build_evaluators(metrics, categories)
        infer = model_evaluation.make_infer_fn(runtime_predictor.from_function(run))
        value = evaluate_detections(some, infer, evaluators).metrics[METRIC]
        return 0.0 if math.isnan(value) else value  # Without objects there is no precision.

    return AccuracyControl(max_drop, examples, score)
