"""Export of a model with auxiliary tasks: signature and auxiliary outputs."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.graph import freezing
from object_detection_mtl.fields import Predictions
from tests.models import tiny

FIELDS = ("window", "closeness", "edgemask", "refine")
ALL = tuple(f"model.mtl.{field}=true" for field in FIELDS)
AUXILIARY = {Predictions.expanded_windows, Predictions.closeness, Predictions.edgemask}


def outputs(detector, images, **options):
    module = DetectionModule(detector, ExportOptions(dynamic_batch=True, **options))
    return module, module.detect(images)


@pytest.mark.slow
def test_auxiliary_outputs_are_optional():
    images = tiny.images(2)
    detector = tiny.detector(*ALL, is_training=False)
    _, baseline = outputs(tiny.detector(is_training=False), images)
    _, plain = outputs(detector, images)
    assert {key: value.shape for key, value in plain.items()} == {
        key: value.shape for key, value in baseline.items()
    }
    module, more = outputs(detector, images, auxiliary_outputs=True)
    assert set(more) == set(plain) | AUXILIARY
    predictions = detector.predict(*detector.preprocess(images))
    for key in AUXILIARY:
        np.testing.assert_allclose(more[key], predictions[key], atol=1e-4)
    frozen = freezing.optimize_module(module, "float32")
    for key, value in frozen.detect(images).items():
        np.testing.assert_allclose(value, more[key], atol=1e-3)


def test_auxiliary_outputs_of_a_baseline_are_an_error():
    with pytest.raises(ValueError, match="no auxiliary tasks"):
        outputs(
            tiny.detector(is_training=False),
            tf.zeros([1, 64, 80, 3], tf.uint8),
            auxiliary_outputs=True,
        )
