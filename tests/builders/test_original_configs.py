"""The authors' own configurations of the baselines, as they are, build their models."""

from __future__ import annotations

import pytest

from object_detection_mtl.builders import model_builder
from object_detection_mtl.config import pipeline
from tests.golden import original_configs


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "backbone", "num_classes"),
    [
        ("model11", "resnet_v1_101", 20),
        ("model21", "resnet_v1_101", 90),
        ("model31", "resnet_v1_101", 20),
        ("model41", "resnet_v1_101", 20),
        ("model51", "MobilenetV1", 20),
        ("model61", "InceptionResnetV2", 20),
        ("model71", "resnet_v1_101", 20),
        ("model81", "MobilenetV1", 20),
        ("model91", "InceptionResnetV2", 20),
    ],
)
def test_baseline(model, backbone, num_classes):
    config = pipeline.parse(original_configs.texts()[model])
    detector = model_builder.build(config.model, is_training=True)
    assert detector.backbone.scope == backbone
    assert detector.num_classes == num_classes
