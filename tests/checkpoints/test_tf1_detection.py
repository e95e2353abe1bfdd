"""TF1 names of a detector's variables."""

from __future__ import annotations

from object_detection_mtl.checkpoints import tf1_detection
from tests.models import tiny


def test_every_variable_has_one_tf1_name():
    detector = tiny.detector(is_training=False)
    names = tf1_detection.name_map(detector)
    assert len(names) == len(detector.variables) == 137
    assert {id(variable) for variable in names.values()} == {id(v) for v in detector.variables}
    for name, shape in {
        "FirstStageFeatureExtractor/MobilenetV1/Conv2d_0/weights": (3, 3, 3, 32),
        "FirstStageFeatureExtractor/MobilenetV1/Conv2d_5_depthwise/BatchNorm/gamma": (256,),
        "FirstStageBoxPredictor/Conv/biases": (8,),
        "FirstStageBoxPredictor/ClassPredictor/weights": (1, 1, 8, 24),
        "SecondStageFeatureExtractor/MobilenetV1/Conv2d_12_pointwise/depthwise_weights": (
            (3, 3, 512, 1)
        ),
        "SecondStageBoxPredictor/BoxEncodingPredictor/weights": (1024, 12),
        "SecondStageBoxPredictor/ClassPredictor/biases": (4,),
    }.items():
        assert tuple(names[name].shape) == shape, name


def test_names_of_r_fcn():
    detector = tiny.detector(*tiny.RFCN, is_training=False)
    names = tf1_detection.name_map(detector)
    assert len(names) == len(detector.variables) == 139
    assert {
        name.removeprefix("SecondStageBoxPredictor/"): tuple(variable.shape)
        for name, variable in names.items()
        if name.startswith("SecondStageBoxPredictor/")
    } == {
        "reduce_depth/weights": (1, 1, 1024, 8),
        "reduce_depth/biases": (8,),
        "refined_locations/weights": (1, 1, 8, 3 * 3 * 3 * 4),
        "refined_locations/biases": (3 * 3 * 3 * 4,),
        "class_predictions/weights": (1, 1, 8, 3 * 3 * 4),
        "class_predictions/biases": (3 * 3 * 4,),
    }
