"""Files of `keras.applications`: the features that they give in a detector."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from object_detection_mtl.checkpoints import keras_applications
from object_detection_mtl.checkpoints.restore import restore
from tests.checkpoints.test_odapi_tf2 import detector_of
from tests.training.tiny import tiny_detector

SHAPE = (65, 97, 3)


def randomize(model: keras.Model) -> None:
    """Weights with which features neither vanish nor grow; every variable is another."""
    random = np.random.default_rng(0)
    for variable in model.variables:
        shape = tuple(variable.shape)
        if variable.name == "kernel":
            value = random.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))
        elif variable.name in ("gamma", "moving_variance"):
            value = random.uniform(0.5, 1.5, shape)
        else:
            value = random.normal(scale=0.1, size=shape)
        variable.assign(value)


def classifier(**options) -> keras.Model:
    if options.get("include_top", True):
        options["input_shape"] = SHAPE
    model = keras.applications.ResNet50(weights=None, **options)
    randomize(model)
    return model


@pytest.fixture(scope="module")
def resnet50():
    return detector_of("faster_rcnn_resnet50_keras")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("notop.weights.h5", {"include_top": False}, marks=pytest.mark.slow),
        pytest.param("top.weights.h5", {"classes": 7}, marks=pytest.mark.slow),
        pytest.param("legacy.h5", {"include_top": False}, marks=pytest.mark.slow),
        pytest.param("legacy_top.h5", {}, marks=pytest.mark.long),
        pytest.param("whole.keras", {"classes": 7}, marks=pytest.mark.slow),
    ],
)
def test_resnet_gives_the_features_of_keras(resnet50, tmp_path, name, options):
    model = classifier(**options)
    path = tmp_path / name
    model.save_weights(path) if name.endswith(".weights.h5") else model.save(path)
    for variable in resnet50.variables:
        variable.assign(variable * 0)
    report = restore(resnet50, path, checkpoint_type="classification")
    assert len(report.loaded) == 265
    assert not report.missing
    assert not report.unused
    assert report.source == "classifier of keras.applications (ResNet50)"
    # Red first here, blue first there. Odd sides: Keras pads its maximum in another way.
    image = np.random.RandomState(0).uniform(-100, 100, (1, *SHAPE)).astype(np.float32)
    outputs = [model.get_layer(f"conv{n}_block{k}_out").output for n, k in ((4, 6), (5, 3))]
    expected4, expected5 = keras.Model(model.inputs, outputs)(image[..., ::-1])
    scale = np.abs(expected4).max()
    features = resnet50.backbone.stage1(image)
    np.testing.assert_allclose(features, expected4, atol=1e-4 * scale)
    stage2 = resnet50.second_stage.head.stage2
    np.testing.assert_allclose(stage2(expected4), expected5, atol=1e-4 * np.abs(expected5).max())


@pytest.mark.slow
def test_inception_resnet(tmp_path):
    model = keras.applications.InceptionResNetV2(weights=None, include_top=False)
    randomize(model)
    model.save_weights(tmp_path / "inception.weights.h5")
    detector = detector_of("faster_rcnn_inception_resnet_v2_keras")
    report = restore(detector, tmp_path / "inception.weights.h5")
    assert len(report.loaded) == 4 * (156 + 48) + 2 * (30 + 10)
    assert not report.missing
    assert not report.unused
    # Outside of these, Keras skips padding that detectors need.
    stage1, stage2 = detector.backbone.stage1, detector.second_stage.head.stage2
    for ours, first, last, their_first, their_last, channels in (
        (stage1, "Mixed_5b", "Repeat.block35_10.Conv2d_1x1", "mixed_5b", "block35_10_ac", 320),
        (stage1, "Mixed_6a", "Repeat_1.block17_20.Conv2d_1x1", "mixed_6a", "block17_20_ac", 1088),
        (stage2, "crops", "Conv2d_7b_1x1", "block17_20_ac", "conv_7b_ac", 1088),
    ):
        features = np.random.RandomState(0).uniform(0, 1, (1, 9, 9, channels)).astype(np.float32)
        actual = keras.Model(ours.get_layer(first).output, ours.get_layer(last).output)(features)
        theirs = (model.get_layer(name).output for name in (their_first, their_last))
        expected = keras.Model(*theirs)(features)
        np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_other_files(resnet50, tmp_path):
    with pytest.raises(FileNotFoundError, match="no file '.*nothing.weights.h5'"):
        restore(resnet50, tmp_path / "nothing.weights.h5")
    (tmp_path / "text.weights.h5").write_text("no weights")
    with pytest.raises(ValueError, match="is not a file of Keras weights, or is corrupt"):
        restore(resnet50, tmp_path / "text.weights.h5")
    (tmp_path / "text.keras").write_text("no weights")
    with pytest.raises(ValueError, match="is not a file of Keras weights, or is corrupt"):
        restore(resnet50, tmp_path / "text.keras")
    inputs = keras.Input((8, 8, 3))
    small = keras.Model(inputs, keras.layers.Conv2D(2, 3)(inputs))
    small.save_weights(tmp_path / "small.weights.h5")
    with pytest.raises(ValueError, match="an unknown network of 1 convolutions; expected"):
        restore(resnet50, tmp_path / "small.weights.h5")


def test_imagenet(resnet50, monkeypatch):
    with pytest.raises(ValueError, match='"imagenet" is available for .*extractor is TinyNet'):
        restore(tiny_detector(), "imagenet")
    original = keras.applications.ResNet50
    monkeypatch.setattr(
        keras.applications,
        "ResNet50",
        lambda weights, include_top: original(weights=None, include_top=include_top),
    )
    report = restore(resnet50, "imagenet", checkpoint_type="classification")
    assert len(report.loaded) == 265

    def no_network(weights, include_top):
        raise Exception("URL fetch failure")

    monkeypatch.setattr(keras.applications, "ResNet50", no_network)
    with pytest.raises(ValueError, match="could not be downloaded .URL fetch failure.; give a loc"):
        restore(resnet50, "imagenet")
    assert keras_applications.is_keras("imagenet")
    assert not keras_applications.is_keras("ckpt-1")
