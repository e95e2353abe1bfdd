"""The command check_config."""

import re

import pytest

from object_detection_mtl.cli import check_config
from tests import command_line, records


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return records.write(tmp_path_factory.mktemp("records"))


@pytest.mark.slow
def test_a_config_without_problems(config):
    done = command_line.run(check_config, config)
    assert done.code == 0, done.out + done.err
    assert "train_input_reader: 6 records in 1 files" in done.out
    assert "objects in a sample of 6 records: square 3, stripe 3" in done.out
    assert re.search(r"\nSecondStageBoxPredictor +11,275 +11,275 +0\n", done.out)
    assert "a step of 2 images of 48x64 takes at least" in done.out
    assert done.out.endswith("pipeline.config: no problems found\n")


def test_all_problems_at_once(config, tmp_path):
    (tmp_path / "map.pbtxt").write_text('item { id: 7 name: "x" }')
    overrides = (
        "train_config.batch_size=0",
        "train_config.fine_tune_checkpoint=/nowhere/ckpt-1",
        "train_config.data_augmentation_options={normalize_image {}}",
        "train_input_reader.tf_record_input_reader.input_path=/nowhere/a.record",
        f"eval_input_reader[0].label_map_path={tmp_path}/map.pbtxt",
        "eval_config.metrics_set=coco_mask_metrics",
    )
    flags = [f"--override={override}" for override in overrides]
    done = command_line.run(check_config, config, "--noestimate", *flags)
    assert done.code == 1
    problems = [line for line in done.out.splitlines() if line.startswith("problem: ")]
    for text in (
        "train_config.batch_size = 0",
        "no checkpoint '/nowhere/ckpt-1'",
        "normalize_image is not supported",
        "no file matches '/nowhere/a.record'",
        "num_classes = 2 is less than the highest id",
        "needs masks, which are unsupported",
    ):
        assert len([line for line in problems if text in line]) == 1, (text, problems)
    assert f"{len(problems)} problems found" in done.out


def test_no_config():
    done = command_line.run(check_config)
    assert done.code == 1
    assert "usage: check_config CONFIG" in done.err


def test_a_model_of_another_kind(tmp_path):
    (tmp_path / "ssd.config").write_text("model { ssd {} }")
    done = command_line.run(check_config, str(tmp_path / "ssd.config"))
    assert done.code == 1
    assert "SSD is not supported" in done.err
