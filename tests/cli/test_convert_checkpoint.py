"""The command convert_checkpoint."""

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import native, tf1_detection
from object_detection_mtl.checkpoints.checkpoint_search import open_checkpoint
from object_detection_mtl.checkpoints.restore import restore
from object_detection_mtl.cli import convert_checkpoint
from object_detection_mtl.config import pipeline
from tests import command_line
from tests.checkpoints.tf1_files import write_tf1
from tests.models import tiny


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("convert") / "pipeline.config"
    path.write_text(pipeline.to_text(tiny.config()))
    return path


@pytest.fixture(scope="module")
def arrays():
    detector = tiny.detector(is_training=False)
    return {n: v.numpy() for n, v in tf1_detection.name_map(detector).items()}


def convert(source, target, config, *arguments):
    return command_line.run(
        convert_checkpoint,
        str(source),
        f"--output_path={target}",
        f"--pipeline_config_path={config}",
        *arguments,
    )


def assert_holds(path, arrays, key=lambda name: name):
    """The file has these values, bit by bit, and nothing else."""
    checkpoint = open_checkpoint(path)
    assert set(checkpoint.shapes) == {key(name) for name in arrays}
    for name, value in arrays.items():
        np.testing.assert_array_equal(checkpoint.read(key(name)), value, err_msg=name)


def test_round_trip_is_exact(tmp_path, arrays, config):
    step = {"global_step": np.array(7, np.int64)}
    source = write_tf1(tmp_path / "model.ckpt-7", arrays | step)
    done = convert(source, tmp_path / "ours" / "ckpt-0", config)
    assert done.code == 0, done.err
    assert f"wrote 137 variables to {tmp_path}/ours/ckpt-0 (native)" in done.out
    ours = open_checkpoint(tmp_path / "ours")
    assert native.is_native(ours)
    assert ours.read("step/.ATTRIBUTES/VARIABLE_VALUE") == 7
    done = convert(tmp_path / "ours", tmp_path / "back.ckpt", config, "--format=tf1_detection")
    assert done.code == 0, done.err
    assert_holds(tmp_path / "back.ckpt", arrays | step)
    # TensorFlow 1 reads it.
    v1 = tf.compat.v1
    name = "SecondStageBoxPredictor/ClassPredictor/biases"
    with tf.Graph().as_default(), v1.Session() as session:
        variable = v1.get_variable(name, shape=arrays[name].shape)
        v1.train.Saver([variable]).restore(session, str(tmp_path / "back.ckpt"))
        np.testing.assert_array_equal(session.run(variable), arrays[name])


def test_a_classifier_is_converted_without_random_heads(tmp_path, arrays, config):
    scopes = ("FirstStageFeatureExtractor/", "SecondStageFeatureExtractor/")
    features = {n: v for n, v in arrays.items() if n.startswith(scopes)}
    classifier = {name.split("/", 1)[1]: value for name, value in features.items()}
    source = write_tf1(tmp_path / "mobilenet_v1.ckpt", classifier)
    done = convert(source, tmp_path / "out.ckpt", config, "--format=tf1_detection")
    assert done.code == 0, done.err
    assert_holds(tmp_path / "out.ckpt", features | {"global_step": np.array(0)})
    done = convert(source, tmp_path / "ckpt-0", config)
    detector = tiny.detector(is_training=False)
    assert len(restore(detector, tmp_path / "ckpt-0", checkpoint_type="detection").loaded) == 127


def test_mistakes(tmp_path, arrays, config):
    source = write_tf1(tmp_path / "model.ckpt", arrays)
    done = convert(source, source, config)
    assert done.code == 1
    assert f"checkpoint {source!r} exists already" in done.err
    for target in ("out/", "out/ckpt-0.index"):
        done = convert(source, tmp_path / target if target[-1] != "/" else f"{tmp_path}/", config)
        assert done.code == 1
        assert "must be the common prefix" in done.err
    done = convert(source, tmp_path / "new", config, "--override=model.faster_rcnn.num_classes=5")
    assert done.code == 1
    assert "belongs to another model: 4 variables have another shape" in done.err
    assert not list(tmp_path.glob("new*"))
