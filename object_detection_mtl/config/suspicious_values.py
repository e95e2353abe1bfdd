"""Warnings about valid but suspicious configs.

Unlike the errors of `validation`, these configurations can be built and trained.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

from object_detection_mtl.protos import anchor_generator_pb2, image_resizer_pb2, pipeline_pb2

_logger = logging.getLogger(__name__)


def find_suspicious_values(config: pipeline_pb2.TrainEvalPipelineConfig) -> list[str]:
    """Return one line for each suspicious value of a validated configuration."""
    model = config.model.faster_rcnn
    path = "model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator"
    stride = model.feature_extractor.first_stage_features_stride
    warnings = [*_stride_warnings(model.first_stage_anchor_generator, stride, path)]
    if not model.clip_anchors_to_image:
        warnings += _size_warnings(model.first_stage_anchor_generator, model.image_resizer, path)
    return [*warnings, *_schedule_warnings(config)]


def warn_about_suspicious_values(config: pipeline_pb2.TrainEvalPipelineConfig, source: str) -> None:
    """Log one warning for each suspicious value; `source` names the configuration."""
    for warning in find_suspicious_values(config):
        _logger.warning("%s: %s", source, warning)


def _schedule_warnings(config: pipeline_pb2.TrainEvalPipelineConfig) -> Iterator[str]:
    train = config.train_config
    chosen = train.optimizer.WhichOneof("optimizer")
    if chosen is None or train.num_steps:
        return
    rate = getattr(train.optimizer, chosen).learning_rate
    if rate.HasField("cosine_decay_learning_rate"):
        steps = rate.cosine_decay_learning_rate.total_steps
        yield (
            f"train_config.num_steps is not set, and the learning rate of "
            f"cosine_decay_learning_rate is 0 from total_steps = {steps} on: set both to the "
            "length of the training"
        )


def _stride_warnings(
    config: anchor_generator_pb2.AnchorGenerator, features_stride: int, path: str
) -> Iterator[str]:
    for name in ("height_stride", "width_stride"):
        stride = getattr(config.grid_anchor_generator, name)
        if stride != features_stride:
            yield (
                f"{path}.{name} = {stride}: differs from "
                f"feature_extractor.first_stage_features_stride = {features_stride}, so anchors "
                "are not centered on the features that predict them"
            )


def _size_warnings(
    config: anchor_generator_pb2.AnchorGenerator,
    resizer: image_resizer_pb2.ImageResizer,
    path: str,
) -> Iterator[str]:
    grid = config.grid_anchor_generator
    height, width = _largest_image(resizer)
    sizes = [
        (grid.height * scale / math.sqrt(ratio), grid.width * scale * math.sqrt(ratio))
        for scale in grid.scales
        for ratio in grid.aspect_ratios
    ]
    if not any(size[0] <= height and size[1] <= width for size in sizes):
        smallest = min(sizes, key=math.prod)
        yield (
            f"{path}.scales = {list(grid.scales)}: no anchor fits into an image of "
            f"{height}x{width}; the smallest anchor is {smallest[0]:.0f}x{smallest[1]:.0f}. "
            "Training ignores anchors that cross the image border"
        )


def _largest_image(resizer: image_resizer_pb2.ImageResizer) -> tuple[int, int]:
    """Return the height and width that no resized image exceeds."""
    if resizer.HasField("fixed_shape_resizer"):
        return resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
    longest = resizer.keep_aspect_ratio_resizer.max_dimension
    return longest, longest
