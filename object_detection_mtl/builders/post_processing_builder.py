"""`PostProcessing` -> scoring and selection of detections."""

from __future__ import annotations

import tensorflow as tf

from object_detection_mtl.models.postprocess import DetectionSelection, ScoreConverter
from object_detection_mtl.protos import post_processing_pb2

_CONVERTERS: dict[int, ScoreConverter] = {
    post_processing_pb2.PostProcessing.IDENTITY: tf.identity,
    post_processing_pb2.PostProcessing.SIGMOID: tf.nn.sigmoid,
    post_processing_pb2.PostProcessing.SOFTMAX: tf.nn.softmax,
}


def build(
    config: post_processing_pb2.PostProcessing, *, clip_before_nms: bool
) -> DetectionSelection:
    """Return score converter (with its logit scale), thresholds and caps."""
    nms = config.batch_non_max_suppression
    return DetectionSelection(
        score_converter=_score_converter(config.score_converter, config.logit_scale),
        score_threshold=nms.score_threshold,
        iou_threshold=nms.iou_threshold,
        max_per_class=nms.max_detections_per_class,
        max_total=nms.max_total_detections,
        soft_nms_sigma=nms.soft_nms_sigma,
        class_agnostic=nms.use_class_agnostic_nms,
        max_classes_per_detection=nms.max_classes_per_detection,
        clip_before_nms=clip_before_nms,
    )


def _score_converter(kind: int, logit_scale: float) -> ScoreConverter:
    convert = _CONVERTERS[kind]
    if logit_scale == 1.0:
        return convert
    return lambda logits: convert(logits / logit_scale)
