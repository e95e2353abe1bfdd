"""The TF Object Detection API itself, and a client from the package registry, beside the adapter.

The packages are installed into a directory of their own, over the packages of this environment.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.odapi.builders import model_builder
from object_detection_mtl.odapi.utils import config_util

PROGRAMS = Path(__file__).parent / "peers"
ROOT = Path(__file__).parents[2]
CONFIG = PROGRAMS / "faster_rcnn_resnet50.config"
API = "tf-models-research-object-detection==2.8.0.post1"
CLIENT = "adversarial-robustness-toolbox>=1.20,<2"

pytestmark = pytest.mark.long


def install(directory, *packages):
    """Install packages without what they depend on, or skip the test."""
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", directory]
    done = subprocess.run([*command, *packages], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{packages} cannot be installed: {done.stderr[-300:]}")


def run_program(program, *arguments, paths):
    """Return what a program prints last."""
    done = subprocess.run(
        [sys.executable, PROGRAMS / program, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1] if done.stdout else ""


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """Return the directory of the OD API, with an empty module for the input formats it imports."""
    directory = tmp_path_factory.mktemp("api")
    install(directory, API, "lvis", "tf_keras")
    (directory / "tensorflow_io").mkdir()
    (directory / "tensorflow_io" / "__init__.py").write_text("")
    return directory


@pytest.fixture(scope="module")
def peer(api, tmp_path_factory):
    """Return the directory of the outputs of the OD API's model with random weights."""
    directory = tmp_path_factory.mktemp("peer")
    run_program("peer_model.py", CONFIG, directory, paths=[api])
    return directory


def build_model():
    config = config_util.get_configs_from_pipeline_file(str(CONFIG))["model"]
    return model_builder.build(config, is_training=False)


def outputs_of(model, peer):
    """Return detections and losses of a model on the images of `peer.npz`."""
    inputs, shapes = model.preprocess(tf.constant(peer["images"]))
    predictions = model.predict(inputs, shapes)
    detections = model.postprocess(predictions, shapes)
    model.provide_groundtruth(
        groundtruth_boxes_list=[tf.constant(boxes) for boxes in peer["boxes"]],
        groundtruth_classes_list=[tf.one_hot(classes, 3) for classes in peer["classes"]],
    )
    return detections, model.loss(predictions, shapes)


def assert_equal_to_peer(model, peer):
    detections, losses = outputs_of(model, peer)
    keys = {key for key in peer.files if "/" in key}
    assert {f"detections/{key}" for key in detections} >= {k for k in keys if k[0] == "d"}
    for key in sorted(keys):
        group, name = key.split("/", 1)
        found = np.asarray({"detections": detections, "losses": losses}[group][name])
        np.testing.assert_allclose(found, peer[key], rtol=1e-5, atol=1e-5, err_msg=key)


def test_the_apis_checkpoint_in_our_model(peer):
    model = build_model()
    restored = tf.train.Checkpoint(model=model).restore(str(peer / "ckpt-1"))
    restored.assert_existing_objects_matched()
    assert_equal_to_peer(model, np.load(peer / "peer.npz"))


def test_our_checkpoint_in_the_apis_model(api, peer, tmp_path):
    model = build_model()
    tf.train.Checkpoint(model=model).restore(str(peer / "ckpt-1")).expect_partial()
    for variable in model.trainable_variables:
        variable.assign(1.01 * variable)
    saved = tf.train.Checkpoint(model=model).save(str(tmp_path / "ours"))
    run_program("peer_model.py", CONFIG, tmp_path, saved, paths=[api])
    assert_equal_to_peer(model, np.load(tmp_path / "peer.npz"))


def test_an_attack_of_the_adversarial_robustness_toolbox(peer, tmp_path):
    install(tmp_path, CLIENT)
    checkpoint = str(peer / "ckpt-1")
    report = json.loads(run_program("attack_client.py", CONFIG, checkpoint, paths=[ROOT, tmp_path]))
    assert report["detections"] == 50
    assert report["largest_gradient"] > 0
    assert report["largest_change"] == pytest.approx(4)
    assert report["loss_after"] > report["loss_before"]
