"""Our own checkpoints stand under TF1 names."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import native
from object_detection_mtl.checkpoints.checkpoint_search import open_checkpoint
from tests.training.tiny import tiny_detector


def test_every_variable_has_one_name_and_one_key(tmp_path):
    detector = tiny_detector(dropout_keep_probability=0.5)
    names = native.named_variables(detector)
    assert {id(v) for v in names.values()} == {id(v) for v in detector.variables}
    # The dropout's generator state is in no TF1 graph and still travels.
    assert sum(name.startswith("unnamed/") for name in names) == 1
    prefix = tf.train.Checkpoint(model=native.tree(names)).write(str(tmp_path / "ckpt"))
    checkpoint = open_checkpoint(prefix)
    assert native.is_native(checkpoint)
    assert not native.has_averages(checkpoint)
    assert set(checkpoint.shapes) == {native.checkpoint_key("model", name) for name in names}
    name = "FirstStageFeatureExtractor/TinyNet/Conv2d_0/weights"
    np.testing.assert_array_equal(
        checkpoint.read(f"model/{name}/.ATTRIBUTES/VARIABLE_VALUE"), names[name].numpy()
    )


def test_dots_in_names_are_escaped_as_tensorflow_does(tmp_path):
    detector = tiny_detector()
    variable = detector.variables[0]
    tree = native.tree({"a.b/c": variable})
    prefix = tf.train.Checkpoint(model=tree).write(str(tmp_path / "ckpt"))
    assert native.checkpoint_key("model", "a.b/c") in open_checkpoint(prefix).shapes


def test_a_name_map_that_repeats_itself_is_refused(monkeypatch):
    detector = tiny_detector()
    variable = detector.variables[0]
    monkeypatch.setattr(native.tf1_detection, "name_map", lambda _: {"a": variable, "b": variable})
    with pytest.raises(ValueError, match="one variable two names"):
        native.named_variables(detector)
