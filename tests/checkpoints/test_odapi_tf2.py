"""Object-graph checkpoints with the names and shapes that the OD API writes."""

from __future__ import annotations

import numpy as np
import pytest

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import native
from object_detection_mtl.checkpoints.checkpoint_files import VALUE_SUFFIX
from object_detection_mtl.checkpoints.checkpoint_search import open_checkpoint
from object_detection_mtl.checkpoints.restore import preview_restore, restore
from object_detection_mtl.checkpoints.restore_plan import FEATURE_EXTRACTORS, RestoreRequest
from object_detection_mtl.config import pipeline, samples
from tests.checkpoints.object_files import (
    odapi_shapes,
    random_values,
    write_keys,
    write_objects,
)

STAGE1 = "model/_feature_extractor_for_proposal_features/"
STAGE2 = "model/_feature_extractor_for_box_classifier_features/"


def detector_of(model, *overrides):
    """A detector of the OD API's type `model`, whose names have `rfcn` for R-FCN."""
    sample = "faster_rcnn_resnet101_voc07.config"
    if model.startswith("rfcn"):
        sample = "rfcn_resnet101_voc07.config"
    backbone = model.replace("rfcn", "faster_rcnn")
    config = pipeline.load(
        str(samples.path(sample)),
        overrides=[f"model.faster_rcnn.feature_extractor.type={backbone}", *overrides],
    )
    return model_builder.build(config.model, is_training=False)


def snapshot(detector):
    return {name: v.numpy() for name, v in native.named_variables(detector).items()}


@pytest.fixture(scope="module")
def resnet50():
    return detector_of("faster_rcnn_resnet50_keras")


@pytest.fixture(scope="module")
def values():
    return random_values(odapi_shapes("faster_rcnn_resnet50_keras"))


@pytest.fixture(scope="module")
def saved(values, tmp_path_factory):
    return write_objects(tmp_path_factory.mktemp("resnet50") / "ckpt-0", values)


@pytest.mark.slow
def test_detection_takes_both_feature_extractors(resnet50, saved, values):
    before = snapshot(resnet50)
    report = restore(resnet50, saved, checkpoint_type="detection")
    assert report.source.endswith("of the Object Detection API with resnet_v1_50_keras")
    assert len(report.loaded) == 265
    assert len(report.kept) == 10
    assert not report.missing
    after = snapshot(resnet50)
    for name in report.kept:
        assert not name.startswith(FEATURE_EXTRACTORS)
        np.testing.assert_array_equal(after[name], before[name])
    # The first unit of the network's last block, where shortcut and residual run side by side.
    unit = "SecondStageFeatureExtractor/resnet_v1_50_keras/block4/unit_1/bottleneck_v1"
    for layer, convolution, batch_norm in (
        ("conv1", 0, 1),
        ("conv2", 2, 3),
        ("shortcut", 4, 6),
        ("conv3", 5, 7),
    ):
        kernel = values[f"{STAGE2}layer_with_weights-{convolution}/kernel{VALUE_SUFFIX}"]
        np.testing.assert_array_equal(after[f"{unit}/{layer}/weights"], kernel)
        for leaf in ("gamma", "beta", "moving_mean", "moving_variance"):
            value = values[f"{STAGE2}layer_with_weights-{batch_norm}/{leaf}{VALUE_SUFFIX}"]
            np.testing.assert_array_equal(after[f"{unit}/{layer}/BatchNorm/{leaf}"], value)


def test_full_takes_everything(resnet50, saved, values):
    report = restore(resnet50, saved, checkpoint_type="full")
    assert len(report.loaded) == 275
    assert not report.missing
    assert not report.unused
    for name, key in (
        (
            "FirstStageBoxPredictor/ClassPredictor/biases",
            "model/_first_stage_box_predictor/_prediction_heads/class_predictions_with_background/"
            "0/_class_predictor_layers/0/bias",
        ),
        (
            "SecondStageBoxPredictor/BoxEncodingPredictor/weights",
            "model/_mask_rcnn_box_predictor/_box_prediction_head/_box_encoder_layers/1/kernel",
        ),
    ):
        np.testing.assert_array_equal(snapshot(resnet50)[name], values[key + VALUE_SUFFIX])


@pytest.mark.slow
def test_other_numbers_of_classes(saved):
    detector = detector_of("faster_rcnn_resnet50_keras", "model.faster_rcnn.num_classes=7")
    with pytest.raises(ValueError, match=r"another shape there .*\[2048, 80\], \[2048, 28\].*det"):
        restore(detector, saved, checkpoint_type="full")
    assert len(restore(detector, saved, checkpoint_type="detection").loaded) == 265
    request = RestoreRequest("detection", ("SecondStageBoxPredictor/",))
    report = preview_restore(detector, open_checkpoint(saved), request)
    assert len(report.skipped) == 4
    assert not report.mismatched


def test_classification(resnet50, saved, values, tmp_path):
    """One object with both parts, counted through."""
    both = {
        key.replace(STAGE1, "feature_extractor/"): value
        for key, value in values.items()
        if key.startswith(STAGE1)
    }
    offset = 1 + max(int(key.split("-")[1].split("/")[0]) for key in both)
    for key, value in values.items():
        if key.startswith(STAGE2):
            number, leaf = key.removeprefix(f"{STAGE2}layer_with_weights-").split("/", 1)
            both[f"feature_extractor/layer_with_weights-{offset + int(number)}/{leaf}"] = value
    path = write_objects(tmp_path / "ckpt-1", both)
    restore(resnet50, saved, checkpoint_type="detection")
    expected = snapshot(resnet50)
    for variable in resnet50.variables:
        variable.assign(variable * 0)
    report = restore(resnet50, path, checkpoint_type="classification")
    assert len(report.loaded) == 265
    assert not report.missing
    assert not report.unused
    after = snapshot(resnet50)
    for name in report.loaded:
        np.testing.assert_array_equal(after[name], expected[name], err_msg=name)
    with pytest.raises(ValueError, match="'detection' needs a detector's checkpoint; .*TF2 classi"):
        restore(resnet50, path, checkpoint_type="detection")
    with pytest.raises(ValueError, match="is a detector: use 'detection' or 'full'"):
        restore(resnet50, saved, checkpoint_type="classification")


@pytest.mark.slow
def test_moving_averages(resnet50, values, saved, tmp_path):
    slot = "/.OPTIMIZER_SLOT/optimizer/average" + VALUE_SUFFIX
    averages = {
        key.replace(VALUE_SUFFIX, slot): value + 1.0
        for key, value in values.items()
        if key.startswith("model/") and "moving_" not in key
    }
    path = write_keys(tmp_path / "ckpt-2", values | averages)
    report = restore(resnet50, path, checkpoint_type="full", use_moving_averages=True)
    assert not report.unused
    first = "FirstStageFeatureExtractor/resnet_v1_50_keras/conv1"
    after = snapshot(resnet50)
    kernel = values[f"{STAGE1}layer_with_weights-0/kernel{VALUE_SUFFIX}"]
    np.testing.assert_array_equal(after[f"{first}/weights"], kernel + 1.0)
    mean = values[f"{STAGE1}layer_with_weights-1/moving_mean{VALUE_SUFFIX}"]
    np.testing.assert_array_equal(after[f"{first}/BatchNorm/moving_mean"], mean)
    with pytest.raises(ValueError, match="holds no moving averages"):
        restore(resnet50, saved, use_moving_averages=True)


@pytest.mark.slow
def test_another_form_or_depth(saved):
    detector = detector_of("faster_rcnn_resnet50")
    with pytest.raises(ValueError, match=r"resnet_v1_50_keras; .* resnet_v1_50\. .*\.\._keras"):
        restore(detector, saved)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "variables"),
    [
        ("faster_rcnn_resnet101_keras", 530),
        ("faster_rcnn_inception_resnet_v2_keras", 906),
        ("rfcn_resnet101_keras", 532),
    ],
)
def test_every_variable_has_its_name(tmp_path, model, variables):
    """Shapes and names of all that the OD API writes, for the other types."""
    shapes = odapi_shapes(model)
    path = write_objects(tmp_path / "ckpt-0", random_values(shapes))
    detector = detector_of(model)
    report = preview_restore(detector, open_checkpoint(path), RestoreRequest("full"))
    assert len(report.loaded) == len(detector.variables) == variables
    assert not report.missing
    assert not report.mismatched
    assert not report.unused
