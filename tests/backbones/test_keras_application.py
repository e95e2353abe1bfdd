"""Networks of `keras.applications` as backbones: features, names, weights, a training."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl import jobs
from object_detection_mtl.backbones import keras_application
from object_detection_mtl.backbones.backbone import checkpoint_names
from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints.restore import restore
from object_detection_mtl.config import pipeline, samples
from object_detection_mtl.dataset_tools import create_pascal_tf_record, synthetic_voc
from object_detection_mtl.training.run_options import RunOptions
from tests import command_line, eager
from tests.checkpoints.test_keras_applications import randomize

MOBILENET, EFFICIENTNET = "MobileNetV3Large", "EfficientNetV2B0"
TYPES = {
    MOBILENET: "faster_rcnn_mobilenet_v3_large",
    EFFICIENTNET: "faster_rcnn_efficientnet_v2_b0",
}
EXTRACTOR = "model.faster_rcnn.feature_extractor"
TASKS = ("window", "closeness", "edgemask", "refine")
LOSSES = ("window_class", "closeness", "edgemask", "refined_classification")
# The network has layers of its own.
OWN_LAYERS = f"{EXTRACTOR}.override_base_feature_extractor_hyperparams=false"


def load(application, *overrides):
    """The demo's config with another backbone, smaller images and fewer boxes."""
    return pipeline.load(
        samples.path("faster_rcnn_mobilenet_v1_synthetic.config"),
        overrides=(f"{EXTRACTOR}.type={TYPES[application]}", OWN_LAYERS, *overrides),
    )


@pytest.fixture(scope="module")
def backbone():
    return keras_application.build(
        application=MOBILENET, regularizer={"class_name": "L2", "config": {"l2": 0.5}}
    )


def test_layers_have_the_names_of_keras(backbone):
    names = checkpoint_names(backbone.stage1, "FirstStageFeatureExtractor/MobileNetV3Large")
    assert len(names) == len(backbone.stage1.variables)
    kernel = names["FirstStageFeatureExtractor/MobileNetV3Large/expanded_conv_1_depthwise/kernel"]
    assert kernel.shape == (3, 3, 64, 1)
    stage2 = checkpoint_names(backbone.make_stage2("stage2"), "MobileNetV3Large")
    assert "MobileNetV3Large/conv_1_bn/moving_mean" in stage2


def test_averages_stay_and_everything_else_trains(backbone):
    inputs = tf.constant(np.random.RandomState(0).uniform(-1, 1, (1, 64, 64, 3)), tf.float32)
    before = [variable.numpy() for variable in backbone.stage1.non_trainable_variables]
    trained = backbone.stage1(inputs, training=True)
    np.testing.assert_array_equal(trained, backbone.stage1(inputs, training=False))
    for variable, value in zip(backbone.stage1.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
    names = {variable.name for variable in backbone.stage1.trainable_variables}
    assert {"kernel", "gamma", "beta"} <= names
    regularized = [v for v in backbone.stage1.variables if getattr(v, "regularizer", None)]
    assert {
        tuple(variable.shape[2:]) for variable in regularized if variable.shape[3] == 1
    } == set()
    assert float(regularized[0].regularizer(tf.ones([2]))) == pytest.approx(1.0)


def test_batch_norm_can_train():
    stage1 = keras_application.build(application=MOBILENET, batch_norm_trainable=True).stage1
    inputs = tf.constant(np.random.RandomState(0).uniform(-1, 1, (1, 64, 64, 3)), tf.float32)
    before = [variable.numpy() for variable in stage1.non_trainable_variables]
    stage1(inputs, training=True)
    changed = [
        np.any(variable.numpy() != value)
        for variable, value in zip(stage1.non_trainable_variables, before, strict=True)
    ]
    assert all(changed)


def test_refused_arguments():
    with pytest.raises(ValueError, match="application is 'VGG16'; must be one of EfficientNetV2B0"):
        keras_application.build(application="VGG16")
    with pytest.raises(ValueError, match="output_stride is 8; MobileNetV3Large supports 16"):
        keras_application.build(application=MOBILENET, output_stride=8)
    with pytest.raises(ValueError, match="remove override_base_feature_extractor_hyperparams"):
        keras_application.build(application=MOBILENET, layer_options={"activation": None})


def test_a_division_at_another_stride_is_refused(monkeypatch):
    early = keras_application.Division("expanded_conv_5_add", keras_application.scale_to_one)
    monkeypatch.setitem(keras_application.DIVISIONS, MOBILENET, early)
    with pytest.raises(ValueError, match="expanded_conv_5_add has stride 8; expected 16"):
        keras_application.build(application=MOBILENET)


@pytest.mark.parametrize(
    "application", [MOBILENET, pytest.param(EFFICIENTNET, marks=pytest.mark.slow)]
)
def test_a_weights_file_gives_the_features_of_keras(application, tmp_path):
    """From images in 0..255, with the network's own preprocessing on Keras' side."""
    network = getattr(keras.applications, application)(
        weights=None, include_top=False, input_shape=(64, 96, 3)
    )
    randomize(network)
    network.save_weights(tmp_path / "classifier.weights.h5")
    detector = model_builder.build(load(application).model, is_training=False)
    report = restore(detector, tmp_path / "classifier.weights.h5", verbose=False)
    assert report.source == f"classifier of keras.applications ({application})"
    assert not report.missing
    assert not report.unused
    images = np.random.RandomState(0).uniform(0, 255, (1, 64, 96, 3)).astype(np.float32)
    features = detector.backbone.stage1(detector.backbone.normalize(images))
    outputs = detector.second_stage.head.stage2(features)
    expected = network(images)
    np.testing.assert_allclose(outputs, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_a_training_with_all_tasks(tmp_path):
    """The demo's data; the losses are finite, every copy of stage 2 trains."""
    data = tmp_path / "data"
    labels = synthetic_voc.write_dataset(data, {"train": 8}, seed=1)
    record = tmp_path / "train.record"
    done = command_line.run(
        create_pascal_tf_record,
        f"--data_dir={data}",
        "--set=train",
        f"--label_map_path={labels}",
        f"--output_path={record}",
    )
    assert done.code == 0, done.err
    config = load(
        MOBILENET,
        *(f"model.mtl.{task}=true" for task in TASKS),
        *(f"model.mtl.{name}_loss_weight=1.0" for name in LOSSES),
        "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.min_dimension=96",
        "model.faster_rcnn.image_resizer.keep_aspect_ratio_resizer.max_dimension=128",
        "train_config.batch_size=2",
        f"train_input_reader.tf_record_input_reader.input_path={record}",
        f"train_input_reader.label_map_path={labels}",
    )
    with eager.eagerly():
        result = jobs.train(config, tmp_path / "model", RunOptions(num_steps=3, log_every_n=1))
    assert np.isfinite(list(result.metrics.values())).all(), result.metrics
    assert sum(name.startswith("Loss/MTL/") for name in result.metrics) == len(TASKS)
    first, last = (
        tf.train.load_checkpoint(path)
        for path in (str(tmp_path / "model" / "ckpt-1"), result.checkpoint)
    )
    for part in ("FirstStageFeatureExtractor", "SecondStageFeatureExtractor", "WindowBoxPredictor"):
        changed = [
            np.any(first.get_tensor(key) != last.get_tensor(key))
            for key in first.get_variable_to_shape_map()
            if key.startswith(f"model/{part}/MobileNetV3Large/") and "/kernel/" in key
        ]
        assert changed
        assert all(changed), f"{part}: {sum(changed)} of {len(changed)} kernels trained"
