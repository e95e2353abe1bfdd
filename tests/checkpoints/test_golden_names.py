"""TF1 checkpoint files with every variable that the authors' models have, by their own list."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.checkpoints.restore import restore
from object_detection_mtl.config import pipeline, samples
from tests.checkpoints.tf1_files import write_tf1
from tests.golden.model_runner import GOLDEN


@pytest.mark.golden
@pytest.mark.parametrize(
    ("model", "sample"),
    [
        ("model51", "faster_rcnn_mobilenet_v1_voc07"),
        ("model52", "faster_rcnn_mobilenet_v1_mtl_voc07"),
        pytest.param("model12", "faster_rcnn_resnet101_mtl_voc07", marks=pytest.mark.long),
        pytest.param("model42", "rfcn_resnet101_mtl_voc07", marks=pytest.mark.slow),
        pytest.param(
            "model62", "faster_rcnn_inception_resnet_v2_mtl_voc07", marks=pytest.mark.slow
        ),
    ],
)
def test_a_whole_model(tmp_path, model, sample):
    with gzip.open(GOLDEN / "variables.json.gz") as file:
        shapes = {name: shape for name, shape, _ in json.load(file)[model]}
    random = np.random.default_rng(0)
    values = {name: random.random(shape, np.float32) for name, shape in shapes.items()}
    path = write_tf1(tmp_path / "model.ckpt-70000", values)
    config = pipeline.load(str(samples.path(f"{sample}.config")))
    detector = model_builder.build(config.model, is_training=True)
    report = restore(detector, path, checkpoint_type="full")
    assert not report.missing
    assert not report.mismatched
    # No detector reads these: the last block of the first stage's ResNet.
    unread = "FirstStageFeatureExtractor/resnet_v1_101/block4/"
    assert all(name.startswith(unread) for name in report.unused), report.unused
    for name, variable in tf1_detection.name_map(detector).items():
        np.testing.assert_array_equal(variable, values[name], err_msg=name)
