"""The account of a restore: short, in full, and for programs."""

import json

from absl import logging

from object_detection_mtl.checkpoints.restore import restore
from object_detection_mtl.checkpoints.restore_report import RestoreReport
from tests.checkpoints.test_restore import classifier
from tests.checkpoints.tf1_files import write_tf1
from tests.training.tiny import tiny_detector

REPORT = RestoreReport(
    source="TF-Slim classifier TinyNet",
    loaded=("a", "b", "c", "d"),
    missing=(),
    unused=("logits",),
    mismatched=("e: [1], [2]",),
    skipped=("f: [3], [4]",),
)


def test_the_short_table_has_the_first_names_of_every_group_that_is_not_empty():
    assert REPORT.table().splitlines() == [
        "weights from a TF-Slim classifier TinyNet",
        "  loaded                        4  a, b, c and 1 more",
        "  of another shape              1  e: [1], [2]",
        "  for other classes             1  f: [3], [4]",
        "  unused in the checkpoint      1  logits",
    ]


def test_the_full_table_has_a_line_per_name():
    lines = REPORT.table(full=True).splitlines()
    assert lines[1:6] == ["  loaded                        4"] + [f"      {n}" for n in "abcd"]
    assert len(lines) == 1 + 4 + 4 + 1 + 1 + 1


def test_json_has_every_name():
    groups = json.loads(json.dumps(REPORT.to_json()))
    assert groups["loaded"] == ["a", "b", "c", "d"]
    assert groups["missing"] == groups["kept"] == []
    assert groups["skipped"] == ["f: [3], [4]"]


def test_verbosity_decides_what_a_restore_prints(tmp_path, capsys):
    detector = tiny_detector()
    path = write_tf1(tmp_path / "net.ckpt", classifier(detector))
    name = "      SecondStageFeatureExtractor/TinyNet/Conv2d_1/BatchNorm/moving_variance\n"
    restore(detector, path)
    assert name not in capsys.readouterr().out
    before = logging.get_verbosity()
    try:
        logging.set_verbosity(logging.DEBUG)
        restore(detector, path)
    finally:
        logging.set_verbosity(before)
    assert name in capsys.readouterr().out
