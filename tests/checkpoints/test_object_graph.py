"""`tf.train.Checkpoint(model=detector)`: names of both kinds of files, in both directions."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints import native
from object_detection_mtl.checkpoints.checkpoint_files import VALUE_SUFFIX
from object_detection_mtl.checkpoints.loading import load_detector_weights
from object_detection_mtl.config import pipeline, samples
from tests import records
from tests.checkpoints.object_files import odapi_shapes, random_values, write_objects


def values_of(detector):
    return {name: v.numpy() for name, v in native.named_variables(detector).items()}


def assert_equal_weights(detector, other):
    found = values_of(other)
    for name, value in values_of(detector).items():
        np.testing.assert_array_equal(value, found[name], err_msg=name)


def assign_random(detector):
    random = np.random.default_rng(1)
    for variable in detector.variables:
        if variable.dtype == "float32":
            variable.assign(random.random(variable.shape, np.float32))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two small detectors in the TF-Slim form, which the OD API's TensorFlow 2 does not have."""
    directory = tmp_path_factory.mktemp("records")
    records.write(directory)
    config = records.load(directory)
    return [model_builder.build(config.model, is_training=False) for _ in range(2)]


def test_a_detector_is_saved_and_restored_under_our_names(small, tmp_path):
    saved, restored = small
    assign_random(saved)
    prefix = tf.train.Checkpoint(model=saved).save(str(tmp_path / "ckpt"))
    names = {name for name, _ in tf.train.list_variables(prefix)}
    assert {native.checkpoint_key("model", name) for name in native.named_variables(saved)} < names
    status = tf.train.Checkpoint(model=restored).restore(prefix)
    status.assert_consumed()
    status.assert_existing_objects_matched()
    assert_equal_weights(saved, restored)


def test_a_checkpoint_of_training_is_restored(small, tmp_path):
    saved, restored = small
    assign_random(saved)
    tree = native.tree(native.named_variables(saved))
    prefix = tf.train.Checkpoint(model=tree, step=tf.Variable(3)).save(str(tmp_path / "ckpt"))
    status = tf.train.Checkpoint(model=restored).restore(prefix)
    status.expect_partial().assert_existing_objects_matched()
    assert_equal_weights(saved, restored)


def test_a_file_without_the_weights_is_noticed(small, tmp_path):
    prefix = tf.train.Checkpoint(model=tf.train.Checkpoint(x=tf.Variable(1.0))).save(
        str(tmp_path / "ckpt")
    )
    status = tf.train.Checkpoint(model=small[0]).restore(prefix)
    with pytest.raises(AssertionError, match="not bound to checkpointed values"):
        status.expect_partial().assert_existing_objects_matched()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["faster_rcnn_resnet50_keras", "rfcn_resnet101_keras"])
def test_checkpoints_of_the_od_api_in_both_directions(model, tmp_path):
    sample = "rfcn" if model.startswith("rfcn") else "faster_rcnn"
    backbone = model.replace("rfcn", "faster_rcnn")
    config = pipeline.load(
        samples.path(f"{sample}_resnet101_voc07.config"),
        [f"model.faster_rcnn.feature_extractor.type={backbone}"],
    )
    detector = model_builder.build(config.model, is_training=False)
    values = random_values(odapi_shapes(model))
    prefix = write_objects(tmp_path / "theirs", values)
    status = tf.train.Checkpoint(model=detector).restore(prefix)
    status.expect_partial().assert_existing_objects_matched()
    written = tf.train.Checkpoint(model=detector).write(str(tmp_path / "ours"))
    reader = tf.train.load_checkpoint(written)
    theirs = {key: value for key, value in values.items() if key.startswith("model/")}
    ours = {key for key in reader.get_variable_to_shape_map() if key.endswith(VALUE_SUFFIX)}
    assert ours - {f"save_counter{VALUE_SUFFIX}"} == set(theirs)
    for key, value in theirs.items():
        np.testing.assert_array_equal(reader.get_tensor(key), value, err_msg=key)
    expected = values_of(detector)
    assign_random(detector)
    load_detector_weights(detector, written)
    for name, value in values_of(detector).items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
