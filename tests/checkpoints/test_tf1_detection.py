"""TF1 names of a detector's variables, and real files of the TF1 Saver under them."""

from __future__ import annotations

import numpy as np
import pytest

from object_detection_mtl.checkpoints import loading, tf1_detection
from object_detection_mtl.checkpoints.restore import restore
from tests.checkpoints.tf1_files import write_tf1
from tests.models import tiny
from tests.training.tiny import tiny_detector


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


def other_values(detector, seed=0):
    """A value for every TF1 name of a detector."""
    random = np.random.RandomState(seed)
    return {
        name: random.rand(*variable.shape).astype(np.float32)
        for name, variable in tf1_detection.name_map(detector).items()
    }


def values_of(detector):
    return {name: v.numpy() for name, v in tf1_detection.name_map(detector).items()}


def assert_loaded(detector, expected, before, loaded):
    """Variables in the scopes `loaded` have their value of `expected`, the rest that of before."""
    for name, value in values_of(detector).items():
        reference = expected if name.startswith(loaded) else before
        np.testing.assert_array_equal(value, reference[name], err_msg=name)


FEATURES = ("FirstStageFeatureExtractor/", "SecondStageFeatureExtractor/")
# Values of a training beside the weights.
OF_TRAINING = {
    "global_step": np.array(5),
    "FirstStageBoxPredictor/Conv/weights/Momentum": np.zeros(2, np.float32),
}


@pytest.mark.parametrize(
    ("checkpoint_type", "include", "loaded"),
    [
        ("", (), FEATURES),
        ("detection", (), FEATURES),
        ("detection", ("SecondStageBoxPredictor/",), (*FEATURES, "SecondStageBoxPredictor/")),
        ("full", (), ("",)),
    ],
)
def test_parts_by_type(tmp_path, checkpoint_type, include, loaded):
    detector = tiny_detector(dropout_keep_probability=0.5)
    expected, before = other_values(detector), values_of(detector)
    path = write_tf1(tmp_path / "model.ckpt-5", expected | OF_TRAINING)
    report = restore(detector, path, checkpoint_type=checkpoint_type, include=include)
    assert_loaded(detector, expected, before, loaded)
    assert report.source == "TF1 detection checkpoint with TinyNet"
    assert set(report.loaded) | set(report.unused) == set(expected)
    assert not report.missing


def test_layers_for_other_classes_are_skipped_and_named(tmp_path):
    expected = other_values(tiny_detector(num_classes=5))
    path = write_tf1(tmp_path / "model.ckpt", expected)
    detector = tiny_detector(num_classes=2)
    before = values_of(detector)
    predictors = ("FirstStageBoxPredictor/", "SecondStageBoxPredictor/")
    report = restore(detector, path, checkpoint_type="detection", include=predictors)
    assert_loaded(detector, expected, before, (*FEATURES, "FirstStageBoxPredictor/"))
    assert report.skipped == (
        "SecondStageBoxPredictor/BoxEncodingPredictor/weights: [4, 20], [4, 8]",
        "SecondStageBoxPredictor/BoxEncodingPredictor/biases: [20], [8]",
        "SecondStageBoxPredictor/ClassPredictor/weights: [4, 6], [4, 3]",
        "SecondStageBoxPredictor/ClassPredictor/biases: [6], [3]",
    )
    assert not report.mismatched
    with pytest.raises(ValueError, match=r"another shape there .*\[4, 20\].*detection"):
        restore(detector, path, checkpoint_type="full")


def test_a_part_that_the_file_lacks_names_the_field(tmp_path):
    detector = tiny_detector()
    features = {n: v for n, v in other_values(detector).items() if n.startswith(FEATURES)}
    path = write_tf1(tmp_path / "model.ckpt", features)
    with pytest.raises(ValueError, match=r"without SecondStageBoxPredictor, .*restore_"):
        restore(detector, path, include=("SecondStageBoxPredictor/",))
    with pytest.raises(ValueError, match=r"lacks 10 of .*\"detection\" loads the feature"):
        restore(detector, path, checkpoint_type="full")
    assert len(restore(detector, path, checkpoint_type="detection").loaded) == 10


def test_moving_averages(tmp_path):
    detector = tiny_detector()
    values = other_values(detector)
    averages = {
        f"{name}/ExponentialMovingAverage": value + 1.0
        for name, value in values.items()
        if "moving_" not in name
    }
    path = write_tf1(tmp_path / "model.ckpt", values | averages)
    report = restore(detector, path, checkpoint_type="full", use_moving_averages=True)
    expected = {n: averages.get(f"{n}/ExponentialMovingAverage", v) for n, v in values.items()}
    assert_loaded(detector, expected, {}, ("",))
    assert not report.unused
    restore(detector, path, checkpoint_type="full")
    assert_loaded(detector, values, {}, ("",))
    bare = write_tf1(tmp_path / "bare.ckpt", values)
    with pytest.raises(ValueError, match="holds no moving averages"):
        restore(detector, bare, use_moving_averages=True)


def test_what_it_cannot_serve(tmp_path):
    detector = tiny_detector()
    path = write_tf1(
        tmp_path / "model.ckpt", other_values(tiny_detector(backbone_scope="OtherNet"))
    )
    with pytest.raises(ValueError, match="architecture, OtherNet; .* extractor is TinyNet"):
        restore(detector, path)
    with pytest.raises(ValueError, match="from_detection_checkpoint: true"):
        restore(detector, path, checkpoint_type="classification")


def test_a_trained_detector_detects_with_it(tmp_path):
    """Evaluation and export take every variable."""
    detector = tiny_detector(is_training=False)
    expected = other_values(detector)
    path = write_tf1(tmp_path / "model.ckpt", expected)
    # An exported checkpoint holds nothing of its training: its weights are those that were chosen.
    loading.load_detector_weights(detector, path, use_moving_averages=True)
    assert_loaded(detector, expected, {}, ("",))
    trained = write_tf1(tmp_path / "model.ckpt-5", expected | OF_TRAINING)
    with pytest.raises(ValueError, match="holds no moving averages"):
        loading.load_detector_weights(detector, trained, use_moving_averages=True)
