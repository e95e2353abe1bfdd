"""What a configuration may say, but hardly means: said once, as a warning.

Other than the refusals of `validation`, all of this can be built and trained.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator

from object_detection_mtl.protos import anchor_generator_pb2, image_resizer_pb2, pipeline_pb2

_logger = logging.getLogger(__name__)


def find_suspicious_values(config: pipeline_pb2.TrainEvalPipelineConfig) -> list[str]:
    """A line for each doubt about a validated configuration."""
    model = config.model.faster_rcnn
    path = "model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator"
    stride = model.feature_extractor.first_stage_features_stride
    doubts = [*_stride_doubts(model.first_stage_anchor_generator, stride, path)]
    if not model.clip_anchors_to_image:
        doubts += _size_doubts(model.first_stage_anchor_generator, model.image_resizer, path)
    return doubts


def warn_about_suspicious_values(config: pipeline_pb2.TrainEvalPipelineConfig, source: str) -> None:
    """Logs a warning for each doubt."""
    for doubt in find_suspicious_values(config):
        _logger.warning("%s: %s", source, doubt)


def _stride_doubts(
    config: anchor_generator_pb2.AnchorGenerator, features_stride: int, path: str
) -> Iterator[str]:
    for name in ("height_stride", "width_stride"):
        stride = getattr(config.grid_anchor_generator, name)
        if stride != features_stride:
            yield (
                f"{path}.{name} = {stride}: anchors so far apart do not lie over the features they "
                "are predicted from, which are "
                f"feature_extractor.first_stage_features_stride = {features_stride} pixels apart"
            )


def _size_doubts(
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
            f"{path}.scales = {list(grid.scales)}: no anchor fits into an image of {height}x{width}"
            f", the smallest is {smallest[0]:.0f}x{smallest[1]:.0f}; anchors that leave the image "
            "are not trained on"
        )


def _largest_image(resizer: image_resizer_pb2.ImageResizer) -> tuple[int, int]:
    """Height and width that no image exceeds."""
    if resizer.HasField("fixed_shape_resizer"):
        return resizer.fixed_shape_resizer.height, resizer.fixed_shape_resizer.width
    longest = resizer.keep_aspect_ratio_resizer.max_dimension
    return longest, longest
