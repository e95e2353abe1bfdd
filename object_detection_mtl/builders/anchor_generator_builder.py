"""`AnchorGenerator` -> grid anchors."""

from __future__ import annotations

from object_detection_mtl.ops.anchors import GridAnchorGenerator
from object_detection_mtl.protos import anchor_generator_pb2

# The float32 number whose square root is 1 - 2^-24, which TensorFlow 1 gave for the root of 1.
TF1_SQUARE = 1.0 - 2.0**-23


def build(config: anchor_generator_pb2.AnchorGenerator) -> GridAnchorGenerator:
    """Return the grid anchor generator; sides, strides and offsets in pixels of the inputs.

    Raises:
        ValueError: another kind of generator, or one without scales or aspect ratios.
    """
    kind = config.WhichOneof("anchor_generator_oneof")
    if kind != "grid_anchor_generator":
        raise ValueError(
            f"first_stage_anchor_generator {{ {kind or ''} }} is not supported; "
            "two-stage detectors use grid_anchor_generator"
        )
    grid = config.grid_anchor_generator
    if grid.use_hw_scales or grid.align_lefttop:
        raise ValueError(
            "grid_anchor_generator: use_hw_scales and align_lefttop are not supported; "
            "give scales and aspect_ratios"
        )
    if not grid.scales or not grid.aspect_ratios:
        raise ValueError(
            f"grid_anchor_generator has scales {list(grid.scales)} and aspect_ratios "
            f"{list(grid.aspect_ratios)}; at least one of each is needed"
        )
    ratios = tuple(grid.aspect_ratios)
    if grid.tf1_rounding:
        ratios = tuple(TF1_SQUARE if ratio == 1.0 else ratio for ratio in ratios)
    return GridAnchorGenerator(
        scales=tuple(grid.scales),
        aspect_ratios=ratios,
        base_anchor_size=(float(grid.height), float(grid.width)),
        stride=(grid.height_stride, grid.width_stride),
        offset=(float(grid.height_offset), float(grid.width_offset)),
    )
