"""The command inspect_checkpoint."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.checkpoints import tf1_detection
from object_detection_mtl.cli import inspect_checkpoint
from object_detection_mtl.config import pipeline
from tests import command_line
from tests.checkpoints.object_files import odapi_shapes, random_values, write_objects
from tests.checkpoints.tf1_files import write_tf1
from tests.models import tiny


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A TF1 detector's checkpoint, a classifier's, and the config of the detector."""
    path = tmp_path_factory.mktemp("inspect")
    detector = tiny.detector(is_training=False)
    arrays = {n: v.numpy() for n, v in tf1_detection.name_map(detector).items()}
    average = {"FirstStageBoxPredictor/Conv/biases/ExponentialMovingAverage": np.zeros(8)}
    write_tf1(path / "model.ckpt-7", arrays | average | {"global_step": np.array(7)})
    classifier = {"resnet_v1_101/conv1/weights": np.zeros((7, 7, 3, 64), np.float32)}
    write_tf1(path / "resnet_v1_101.ckpt", classifier)
    (path / "pipeline.config").write_text(pipeline.to_text(tiny.config()))
    return path


def run(*arguments):
    done = command_line.run(inspect_checkpoint, *map(str, arguments))
    return done.code, done.out, done.err


def test_what_is_in_it(directory):
    code, out, _ = run(directory / "model.ckpt-7")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].endswith("model.ckpt-7: TF1 detection checkpoint (name-based)")
    assert lines[1:4] == [
        "  network          MobilenetV1",
        "  step             7",
        "  moving averages  yes",
    ]
    assert "  137 variables" in lines[4]
    assert [line.split()[0] for line in lines[5:9]] == [
        "FirstStageBoxPredictor",
        "FirstStageFeatureExtractor",
        "SecondStageBoxPredictor",
        "SecondStageFeatureExtractor",
    ]
    assert "of training" in lines[9]
    assert "2 variables" in lines[9]
    assert len(lines) == 10
    code, out, _ = run(directory / "model.ckpt-7", "--verbosity=1")
    assert "  FirstStageFeatureExtractor/MobilenetV1/Conv2d_0/weights [3, 3, 3, 32]\n" in out


def test_what_would_be_loaded_where(directory):
    config = f"--pipeline_config_path={directory}/pipeline.config"
    code, out, err = run(directory / "model.ckpt-7", config, "--checkpoint_type=detection")
    assert code == 0, err
    assert "into " in out
    assert "pipeline.config: weights from a TF1 detection checkpoint" in out
    assert "  loaded                      127  FirstStageFeatureExtractor/MobilenetV1" in out
    code, out, err = run(
        directory / "model.ckpt-7",
        config,
        "--override=model.faster_rcnn.num_classes=5",
        "--checkpoint_type=full",
        "--json",
    )
    report = json.loads(out)
    assert report["kind"] == "TF1 detection checkpoint"
    assert report["step"] == 7
    assert len(report["weights"]) == 137
    assert len(report["would_load"]["loaded"]) == 133
    assert len(report["would_load"]["mismatched"]) == 4
    code, out, err = run(directory / "resnet_v1_101.ckpt", config)
    assert code == 1
    assert "another architecture, resnet_v1_101; the model's feature extractor is Mobi" in err


@pytest.mark.slow
def test_checkpoints_of_the_od_api_and_of_strangers(tmp_path):
    shapes = odapi_shapes("faster_rcnn_resnet50_keras")
    code, out, _ = run(write_objects(tmp_path / "ckpt-0", random_values(shapes)))
    assert code == 0
    assert "TF2 detection checkpoint of the Object Detection API (object-based)" in out
    assert "  network          resnet_v1_50_keras\n  step             3\n" in out
    stranger = tf.train.Checkpoint(net=tf.Variable(1.0)).save(str(tmp_path / "stranger"))
    code, out, _ = run(stranger)
    assert code == 0
    assert "checkpoint of an unsupported kind" in out


@pytest.mark.parametrize("damage", ["truncated", "changed"])
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_damaged_values_are_an_error_after_the_description(damage, options, directory, tmp_path):
    for path in directory.glob("resnet_v1_101.ckpt.*"):
        shutil.copy(path, tmp_path)
    (data,) = tmp_path.glob("*.data-*")
    content = bytearray(data.read_bytes())
    content[1000] ^= 1
    data.write_bytes(content if damage == "changed" else content[:1000])
    code, out, err = run(tmp_path / "resnet_v1_101.ckpt", *options)
    assert code == 1
    assert "resnet_v1_101" in out
    assert "cannot be read; its files are corrupt or truncated" in err
    assert err.count("\n") == 1


def test_mistakes(directory):
    assert run() == (1, "", "error: no checkpoint given; usage: inspect_checkpoint PATH\n")
    code, _, err = run(directory / "model.ckpt-7", "more")
    assert code == 1
    assert "unexpected arguments ['more']" in err
    code, _, err = run(directory / "nothing")
    assert code == 1
    assert "no checkpoint" in err
    assert "model.ckpt-7" in err


def test_help():
    done = subprocess.run(
        [sys.executable, "-m", "object_detection_mtl.cli.inspect_checkpoint", "--help"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    for word in ("inspect_checkpoint resnet_v1_101.ckpt", "--pipeline_config_path", "--[no]json"):
        assert word in done.stdout
