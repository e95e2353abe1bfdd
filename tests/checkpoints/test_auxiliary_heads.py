"""Weights of the auxiliary heads: their own from a detector, their stage 2 from any checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf import text_format

from object_detection_mtl.builders import model_builder, mtl_builder, train_config_builder
from object_detection_mtl.checkpoints import native, tf1_detection
from object_detection_mtl.checkpoints.restore import restore
from object_detection_mtl.config import pipeline, samples
from object_detection_mtl.protos import model_pb2, train_pb2
from tests.checkpoints.tf1_files import write_tf1

SECOND_STAGE = "SecondStageFeatureExtractor/"
HEADS = ("WindowBoxPredictor/", "ClosenessBoxPredictor/")
COPY = "MobilenetV1/Conv2d_13_pointwise/pointwise_weights"


def detector_of(*overrides: str):
    config = pipeline.load(
        str(samples.path("faster_rcnn_mobilenet_v1_mtl_bccd.config")), overrides=overrides
    )
    return model_builder.build(config.model, is_training=True)


@pytest.fixture(scope="module")
def detector():
    return detector_of()


@pytest.fixture(scope="module")
def stored(detector):
    """A value for every variable of a TF1 detector's checkpoint."""
    random = np.random.default_rng(0)
    return {
        name: random.random(variable.shape, np.float32)
        for name, variable in tf1_detection.name_map(detector).items()
    }


@pytest.fixture(scope="module")
def path(stored, tmp_path_factory):
    return write_tf1(tmp_path_factory.mktemp("authors") / "model.ckpt-9", stored)


def emptied(detector):
    for variable in native.named_variables(detector).values():
        variable.assign(variable * 0)
    return detector


def initialized(detector, path, directory, fields="", fresh_scopes=()):
    """The values that a run starts with."""
    config = text_format.Parse(
        f'fine_tune_checkpoint: "{path}" fine_tune_checkpoint_type: "detection" {fields}',
        train_pb2.TrainConfig(),
    )
    train_config_builder.build_initializer(config, directory / "run", fresh_scopes)(
        emptied(detector)
    )
    return {name: v.numpy() for name, v in tf1_detection.name_map(detector).items()}


def test_heads_start_from_the_second_stage(detector, stored, path, tmp_path):
    values = initialized(detector, path, tmp_path)
    for name, value in values.items():
        if name.startswith(("FirstStageFeatureExtractor/", SECOND_STAGE)):
            np.testing.assert_array_equal(value, stored[name], err_msg=name)
        elif "/MobilenetV1/" in name:
            assert name.startswith(HEADS)
            second_stage = SECOND_STAGE + name.split("/", 1)[1]
            np.testing.assert_array_equal(value, stored[second_stage], err_msg=name)
        else:
            assert not value.any(), name


@pytest.mark.parametrize(
    ("field", "scope"),
    [
        ("restore_window", "WindowBoxPredictor/"),
        ("restore_closeness", "ClosenessBoxPredictor/"),
        ("restore_edgemask", "EdgeMaskPredictor/"),
        ("restore_mtl_refine", "MTLClassRefiner/"),
    ],
)
def test_a_field_restores_its_head_and_no_other(detector, stored, path, tmp_path, field, scope):
    values = initialized(detector, path, tmp_path, f"{field}: true")
    heads = {n: v for n, v in values.items() if not n.startswith(("FirstStage", "SecondStage"))}
    assert any(name.startswith(scope) for name in heads)
    for name, value in heads.items():
        if name.startswith(scope):
            np.testing.assert_array_equal(value, stored[name], err_msg=name)
        elif "/MobilenetV1/" not in name:
            assert not value.any(), name


@pytest.mark.parametrize(("field", "restored"), [("", ()), ("restore_window: true", HEADS[:1])])
def test_heads_of_their_own_beginning(detector, stored, path, tmp_path, field, restored):
    """`share_second_stage_init: false`; explicitly requested heads take precedence."""
    mtl = model_pb2.MTL(share_second_stage_init=False)
    values = initialized(detector, path, tmp_path, field, mtl_builder.fresh_scopes(mtl))
    assert mtl_builder.fresh_scopes(model_pb2.MTL()) == ()
    np.testing.assert_array_equal(values[SECOND_STAGE + COPY], stored[SECOND_STAGE + COPY])
    of_heads = {name: value for name, value in values.items() if name.startswith(HEADS)}
    assert len([name for name in of_heads if "/MobilenetV1/" in name]) == 2 * 12
    for name, value in of_heads.items():
        if name.startswith(restored):
            np.testing.assert_array_equal(value, stored[name], err_msg=name)
        else:
            assert not value.any(), name


def test_other_numbers_of_classes(stored, path):
    other = detector_of("model.faster_rcnn.num_classes=5")
    report = restore(other, path, checkpoint_type="detection", include=(*HEADS, "MTLClassRefiner"))
    # [2048 or so, K + 1] and [K + 1] of both heads; refiners read and write classes.
    assert {line.split(":")[0] for line in report.skipped} == {
        f"{scope}{leaf}"
        for scope, layer in ((HEADS[0], "ClassPredictor"), (HEADS[1], "ClassPredictor"))
        for leaf in (f"{layer}/weights", f"{layer}/biases")
    } | {name for name in stored if name.startswith("MTLClassRefiner/")}
    assert not report.mismatched
    assert not report.missing


def test_a_classifier_initializes_the_heads_unless_disabled(detector, stored, tmp_path):
    classifier = {
        name.split("/", 1)[1]: value
        for name, value in stored.items()
        if name.startswith(("FirstStageFeatureExtractor/", SECOND_STAGE))
    }
    file = write_tf1(tmp_path / "mobilenet_v1.ckpt", classifier)
    report = restore(emptied(detector), file, checkpoint_type="classification")
    values = native.named_variables(detector)
    for scope in HEADS:
        assert f"{scope}{COPY}" in report.loaded
        np.testing.assert_array_equal(values[f"{scope}{COPY}"], classifier[COPY])
    mtl = pipeline.load(
        str(samples.path("faster_rcnn_mobilenet_v1_mtl_bccd.config")),
        overrides=["model.mtl.share_second_stage_init=false"],
    ).model.mtl
    fresh = mtl_builder.fresh_scopes(mtl)
    report = restore(emptied(detector), file, exclude=fresh)
    assert not [name for name in report.loaded if name.startswith(HEADS)]
    assert f"{SECOND_STAGE}{COPY}" in report.loaded


def test_a_head_that_the_checkpoint_lacks(detector, stored, tmp_path):
    baseline = {n: v for n, v in stored.items() if not n.startswith("WindowBoxPredictor/")}
    file = write_tf1(tmp_path / "baseline.ckpt", baseline)
    with pytest.raises(ValueError, match="without WindowBoxPredictor, do not request them"):
        restore(detector, file, include=("WindowBoxPredictor/",))
    report = restore(emptied(detector), file, checkpoint_type="detection")
    assert f"WindowBoxPredictor/{COPY}" in report.loaded
    assert not report.missing
