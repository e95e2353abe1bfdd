"""Native checkpoints with other values of some variables."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import (
    checkpoint_conversion,
    checkpoint_files,
    checkpoint_search,
    native,
)
from tests.checkpoints.tf1_files import write_tf1

BIAS = "MTLClassRefiner/fc1/biases"
CONV = "FirstStageFeatureExtractor/MobilenetV1/Conv2d_0/weights"


def variables(value):
    return {name: keras.Variable(np.full(2, value, np.float32)) for name in (BIAS, CONV)}


def checkpoint_of(model, step=0):
    """A run's checkpoint, as `training.checkpointing` makes it."""
    slots = {name: variables(value) for name, value in (("momentum", 5.0), ("average", 7.0))}
    trees = {slot: native.tree(names) for slot, names in slots.items()}
    checkpoint = tf.train.Checkpoint(
        step=tf.Variable(step, dtype=tf.int64),
        model=native.tree(model),
        optimizer={"iterations": tf.Variable(step, dtype=tf.int64), **trees},
    )
    return checkpoint, slots


@pytest.fixture
def source(tmp_path):
    checkpoint, _ = checkpoint_of(variables(1.0), step=9)
    return checkpoint_files.read_checkpoint(checkpoint.save(str(tmp_path / "run" / "ckpt")))


def test_only_the_given_variable_changes(source, tmp_path):
    prefix = str(tmp_path / "new" / "ckpt-3")
    new = np.array([0.25, -0.25])
    checkpoint_conversion.write_changed_checkpoint(source, prefix, {BIAS: new})
    assert checkpoint_search.resolve_checkpoint(tmp_path / "new") == prefix
    model = variables(0.0)
    checkpoint, slots = checkpoint_of(model)
    checkpoint.restore(prefix).assert_consumed()
    assert int(checkpoint.step) == 9
    np.testing.assert_array_equal(model[BIAS], new)
    np.testing.assert_array_equal(slots["average"][BIAS], new)
    np.testing.assert_array_equal(slots["momentum"][BIAS], [0, 0])
    for value, found in ((1.0, model), (7.0, slots["average"]), (5.0, slots["momentum"])):
        np.testing.assert_array_equal(found[CONV], [value] * 2)


def test_what_does_not_fit_is_refused(source, tmp_path):
    prefix = str(tmp_path / "new" / "ckpt-3")
    for values, message in (
        ({BIAS: np.zeros(3)}, r"in shape \(2,\); expected \(3,\)"),
        ({"MTLClassRefiner/fc2/biases": np.zeros(2)}, "in shape None"),
    ):
        with pytest.raises(ValueError, match=message):
            checkpoint_conversion.write_changed_checkpoint(source, prefix, values)
    write_tf1(tmp_path / "model.ckpt", {BIAS: np.zeros(2, np.float32)})
    other = checkpoint_files.read_checkpoint(str(tmp_path / "model.ckpt"))
    with pytest.raises(ValueError, match="convert_checkpoint first"):
        checkpoint_conversion.write_changed_checkpoint(other, prefix, {BIAS: np.zeros(2)})
    with pytest.raises(FileExistsError, match="exists already"):
        checkpoint_conversion.write_changed_checkpoint(source, source.prefix, {})
