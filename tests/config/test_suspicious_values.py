"""Warnings about valid but suspicious configs."""

import logging

from object_detection_mtl.config import pipeline, suspicious_values
from tests.config.sources import MINIMAL, parse

GRID = "model.faster_rcnn.first_stage_anchor_generator.grid_anchor_generator"
RESIZER = "model.faster_rcnn.image_resizer"


def test_the_minimal_configuration_has_no_warning():
    assert suspicious_values.find_suspicious_values(parse()) == []


def test_anchor_stride_that_differs_from_the_feature_stride(caplog):
    override = f"{GRID}.width_stride=8"
    [line] = suspicious_values.find_suspicious_values(parse(override))
    assert line.startswith(f"{GRID}.width_stride = 8: ")
    assert "feature_extractor.first_stage_features_stride = 16" in line
    with caplog.at_level(logging.WARNING):
        pipeline.parse(MINIMAL, [override], source="my.config")
    assert f"my.config: {line}" in caplog.text


def test_anchors_larger_than_all_images():
    small = f"{RESIZER}.keep_aspect_ratio_resizer={{min_dimension: 100 max_dimension: 200}}"
    [line] = suspicious_values.find_suspicious_values(parse(small))
    assert f"{GRID}.scales = [1.0]: no anchor fits into an image of 200x200" in line
    assert "the smallest anchor is 256x256" in line
    assert suspicious_values.find_suspicious_values(parse(small, f"{GRID}.scales=[0.75]")) == []
    # A fixed shape: an anchor of 128 pixels is wider than 127.
    fixed = f"{RESIZER}={{fixed_shape_resizer {{height: 300 width: 127}}}}"
    wide = (f"{GRID}.scales=[0.5]", f"{GRID}.aspect_ratios=[1.0]")
    assert len(suspicious_values.find_suspicious_values(parse(fixed, *wide))) == 1
    assert (
        suspicious_values.find_suspicious_values(
            parse(fixed, f"{GRID}.scales=[0.5]", f"{GRID}.aspect_ratios=[0.25]")
        )
        == []
    )


def test_clipped_anchors_cause_no_warning():
    small = f"{RESIZER}.keep_aspect_ratio_resizer={{min_dimension: 100 max_dimension: 200}}"
    assert (
        suspicious_values.find_suspicious_values(
            parse(small, "model.faster_rcnn.clip_anchors_to_image=true")
        )
        == []
    )
