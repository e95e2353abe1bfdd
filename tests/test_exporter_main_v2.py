"""The exporter's command line: the OD API's flags, and errors in one line."""

import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import object_detection_mtl as odm
from object_detection_mtl import exporter_main_v2
from object_detection_mtl.checkpoints import native
from object_detection_mtl.config import pipeline
from tests import command_line
from tests.export import exported


def export(*extra, config=None, checkpoint=None, output):
    exported.run()
    return command_line.run(
        exporter_main_v2,
        f"--pipeline_config_path={config or exported.CONFIG_PATH}",
        f"--trained_checkpoint_dir={checkpoint or exported.MODEL_DIR}",
        f"--output_directory={output}",
        *extra,
    )


def error(done):
    """The one line that a failed run leaves."""
    assert done.code == 1
    [line] = [line for line in done.err.splitlines() if line.startswith("error: ")]
    return line


@pytest.mark.slow
def test_a_run_with_changes_to_the_config(tmp_path):
    output = tmp_path / "new" / "out"
    done = export(
        "--input_type=encoded_image_string_tensor",
        "--config_override=model { faster_rcnn { first_stage_max_proposals: 7 } } "
        'eval_input_reader { name: "second" }',
        "--override=eval_config.batch_size=3",
        checkpoint=exported.MODEL_DIR / "ckpt-1",
        output=output,
    )
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == (
        f"exported {exported.MODEL_DIR}/ckpt-1 to {output} (input: encoded_image_string_tensor)"
    )
    config = pipeline.load(output / "pipeline.config")
    assert config.model.faster_rcnn.first_stage_max_proposals == 7  # replaced
    assert [reader.name for reader in config.eval_input_reader] == ["", "second"]  # appended
    assert config.eval_config.batch_size == 3
    served = tf.saved_model.load(str(output / "saved_model")).signatures["serving_default"]
    assert served.structured_outputs["raw_detection_boxes"].shape.as_list() == [None, 7, 4]
    image = (exported.images() / "a.jpg").read_bytes()
    assert served(input_tensor=tf.constant([image]))["num_detections"][0] > 1


def test_exported_and_evaluated_weights_are_equal(tmp_path):
    """The moving averages of training, if eval_config selects them."""
    exported.run()
    names = native.named_variables(exported.detector())
    halves = {name: tf.Variable(0.5 * variable.value) for name, variable in names.items()}
    checkpoint = tf.train.Checkpoint(
        model=native.tree(names), optimizer={"average": native.tree(halves)}
    )
    prefix = checkpoint.write(str(tmp_path / "ckpt-1"))
    for averages, factor in (("false", 1.0), ("true", 0.5)):
        config = pipeline.load(
            exported.CONFIG_PATH, [f"eval_config.use_moving_averages={averages}"]
        )
        detector = odm.load_detector(prefix, config=config)
        for name, variable in native.named_variables(detector.model).items():
            np.testing.assert_array_equal(variable.numpy(), factor * names[name].numpy())


def test_an_empty_checkpoint_directory_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    done = export(checkpoint=tmp_path / "empty", output=tmp_path / "out")
    assert "empty' holds no checkpoint" in error(done)
    assert not (tmp_path / "out").exists()
    done = export(checkpoint=tmp_path / "nowhere", output=tmp_path / "out")
    assert "no checkpoint " in error(done)


@pytest.mark.parametrize(
    "flag",
    [
        "--use_side_inputs",
        "--side_input_shapes=1,2000,2057/1",
        "--side_input_types=tf.float32",
        "--side_input_names=context",
    ],
)
def test_side_inputs_are_refused(tmp_path, flag):
    message = error(export(flag, output=tmp_path / "out"))
    assert "side inputs are unsupported" in message
    assert "Context R-CNN" in message


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        ("--input_type=image_and_boxes_tensor", "'image_and_boxes_tensor' is not supported"),
        ("--config_override=modle { }", 'has no field "modle"; did you mean "model"?'),
        ("--override=eval_config.batch_sise=3", 'did you mean "batch_size"'),
        ("surplus", "unexpected arguments ['surplus']"),
    ],
)
def test_values_that_cannot_be_used(tmp_path, flag, words):
    assert words in error(export(flag, output=tmp_path / "out"))


def test_a_config_that_is_not_there(tmp_path):
    exported.run()
    misspelt = exported.CONFIG_PATH.with_name("traned.config")
    message = error(export(config=misspelt, output=tmp_path / "out"))
    assert 'did you mean "trained.config"?' in message


def test_an_output_directory_of_something_else(tmp_path):
    before = sorted(os.listdir(exported.run()))
    message = error(export(output=exported.MODEL_DIR))
    assert "is the model directory of a training run" in message
    assert sorted(os.listdir(exported.MODEL_DIR)) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pipline_config_path=x"], "Did you mean: pipeline_config_path"),
        (["--input_type=image"], "image_tensor|float_image_tensor|encoded_image_string_tensor"),
        ([], "--pipeline_config_path, --trained_checkpoint_dir, --output_directory are required"),
    ],
)
def test_misused_flags(arguments, words):
    done = command_line.run(exporter_main_v2, *arguments)
    assert done.code == 1
    assert words in done.err


def test_help_names_every_flag_of_the_od_api():
    done = subprocess.run(
        [sys.executable, "-m", "object_detection_mtl.exporter_main_v2", "--help"],
        capture_output=True,
        text=True,
        timeout=600,
    )
    for flag in (
        "input_type",
        "pipeline_config_path",
        "trained_checkpoint_dir",
        "output_directory",
        "config_override",
        "use_side_inputs",
        "side_input_shapes",
        "side_input_types",
        "side_input_names",
    ):
        assert f"--{flag}:" in done.stdout or f"--[no]{flag}:" in done.stdout, flag
    assert "exporter_main_v2 --pipeline_config_path=" in done.stdout
    assert done.returncode == 0
