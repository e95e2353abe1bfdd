"""A detector that is to detect gets all of its weights or none."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import loading, native
from tests.checkpoints.tf1_files import write_tf1
from tests.training.tiny import tiny_detector


def written(directory, detector, *, without=(), averages=None, name="ckpt-1"):
    """Prefix of a checkpoint of the detector as training writes it."""
    names = native.named_variables(detector)
    kept = {key: value for key, value in names.items() if key not in without}
    optimizer = {"iterations": tf.Variable(0, dtype=tf.int64)}
    if averages is not None:
        optimizer["average"] = native.tree(
            {key: tf.Variable(tf.fill(value.shape, averages)) for key, value in names.items()}
        )
    checkpoint = tf.train.Checkpoint(model=native.tree(kept), optimizer=optimizer)
    return checkpoint.write(str(directory / name))


def first_weights(detector):
    return native.named_variables(detector)[
        "FirstStageFeatureExtractor/TinyNet/Conv2d_0/weights"
    ].numpy()


@pytest.fixture
def trained():
    return tiny_detector(is_training=False, seed=1)


@pytest.fixture
def fresh():
    return tiny_detector(is_training=False, seed=2)


def test_every_variable_is_loaded(tmp_path, trained, fresh):
    assert not np.array_equal(first_weights(trained), first_weights(fresh))
    report = loading.load_detector_weights(fresh, written(tmp_path, trained))
    assert set(report.loaded) == set(native.named_variables(fresh))
    for old, new in zip(trained.variables, fresh.variables, strict=True):
        np.testing.assert_array_equal(old.numpy(), new.numpy())


def test_an_empty_directory_holds_no_checkpoint(tmp_path, fresh):
    before = first_weights(fresh)
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        loading.load_detector_weights(fresh, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="no checkpoint .*ckpt-9"):
        loading.load_detector_weights(fresh, str(tmp_path / "ckpt-9"))
    np.testing.assert_array_equal(first_weights(fresh), before)


def test_a_checkpoint_with_a_variable_missing(tmp_path, trained, fresh):
    names = sorted(native.named_variables(trained))
    prefix = written(tmp_path, trained, without=names[:4])
    before = first_weights(fresh)
    with pytest.raises(ValueError, match="lacks 4 of the model's") as error:
        loading.load_detector_weights(fresh, prefix)
    for words in (
        f"lacks 4 of the model's {len(names)} variables: {', '.join(names[:3])} and 1 more",
        "Its feature extractor, TinyNet, is the config's; other parts differ.",
        "Give the config that the checkpoint was trained with",
    ):
        assert words in str(error.value)
    np.testing.assert_array_equal(first_weights(fresh), before)


def test_a_checkpoint_of_another_backbone(tmp_path, trained):
    other = tiny_detector(is_training=False, backbone_scope="OtherNet")
    with pytest.raises(
        ValueError, match="looks like a detector with OtherNet; .* one with TinyNet"
    ):
        loading.load_detector_weights(trained, written(tmp_path, other))


def test_a_checkpoint_of_another_number_of_classes(tmp_path, trained):
    other = tiny_detector(is_training=False, num_classes=5)
    with pytest.raises(ValueError, match="belongs to another model.*SecondStageBoxPredictor"):
        loading.load_detector_weights(trained, written(tmp_path, other))


def test_a_classifier_cannot_detect(tmp_path, fresh):
    prefix = write_tf1(
        tmp_path / "mobilenet.ckpt", {"MobilenetV1/Conv2d_0/weights": np.zeros([3, 3, 3, 8])}
    )
    with pytest.raises(ValueError, match=r"classifier \(MobilenetV1\).* cannot detect"):
        loading.load_detector_weights(fresh, prefix)


def test_moving_averages_are_loaded_on_request(tmp_path, trained, fresh):
    prefix = written(tmp_path, trained, averages=0.25)
    loading.load_detector_weights(fresh, prefix, use_moving_averages=True)
    np.testing.assert_array_equal(np.unique(first_weights(fresh)), [0.25])
    loading.load_detector_weights(fresh, prefix, use_moving_averages=False)
    np.testing.assert_array_equal(first_weights(fresh), first_weights(trained))


def test_averages_that_were_not_kept_cannot_be_taken(tmp_path, trained, fresh):
    with pytest.raises(ValueError, match="holds no moving averages; train with"):
        loading.load_detector_weights(fresh, written(tmp_path, trained), use_moving_averages=True)


def test_an_exported_checkpoint_has_no_averages_and_needs_none(tmp_path, trained, fresh):
    model = native.tree(native.named_variables(trained))
    prefix = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt-0"))
    loading.load_detector_weights(fresh, prefix, use_moving_averages=True)
    np.testing.assert_array_equal(first_weights(fresh), first_weights(trained))
