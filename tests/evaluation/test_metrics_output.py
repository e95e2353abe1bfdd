import json
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.evaluation import metrics_output

NAN = float("nan")
METRICS = {
    "PascalBoxes_Precision/mAP@0.5IOU": 0.75,
    "PascalBoxes_PerformanceByCategory/AP@0.5IOU/cat": 1.0,
    "PascalBoxes_PerformanceByCategory/AP@0.5IOU/AC/DC cable": 0.5,
    "PascalBoxes_PerformanceByCategory/AP@0.5IOU/dog": NAN,
    "DetectionBoxes_Precision/mAP (small)": -1.0,
    "DetectionBoxes_Precision mAP ByCategory/cat": 0.25,
    "DetectionBoxes_Recall AR@1 ByCategory/cat": 0.125,
    "ErrorAnalysis/Background": 12.0,
    "ErrorAnalysis_ByCategory/Background/cat": 7.0,
    "Loss/total_loss": 1.23456,
}


def test_table_of_a_mixture():
    assert metrics_output.format_table(METRICS, title="step 100").splitlines() == [
        "step 100",
        "========",
        "PascalBoxes_Precision/mAP@0.5IOU       0.7500",
        "DetectionBoxes_Precision/mAP (small)  -1.0000",
        "ErrorAnalysis/Background                   12",
        "Loss/total_loss                        1.2346",
        "",
        "PascalBoxes_PerformanceByCategory  AP@0.5IOU",
        "cat                                   1.0000",
        "AC/DC cable                           0.5000",
        "dog                                        -",
        "",
        "DetectionBoxes  Precision mAP  Recall AR@1",
        "cat                    0.2500       0.1250",
        "",
        "ErrorAnalysis  Background",
        "cat                     7",
    ]


def test_table_of_nothing():
    assert metrics_output.format_table({}) == "\n"


def test_json_is_valid_and_whole(tmp_path):
    path = tmp_path / "deep" / "metrics.json"
    metrics_output.write_json(path, METRICS, {"step": 100, "classes": ["Kätzchen"]})
    text = path.read_text(encoding="utf-8")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(text, parse_constant=refuse)
    assert content["step"] == 100
    assert content["classes"] == ["Kätzchen"]
    assert content["metrics"]["PascalBoxes_PerformanceByCategory/AP@0.5IOU/dog"] is None
    assert content["metrics"]["Loss/total_loss"] == 1.23456
    assert content["metrics"].keys() == METRICS.keys()

    metrics_output.write_json(path, {"a": 1.0})
    assert json.loads(path.read_text()) == {"metrics": {"a": 1.0}}
    assert [p.name for p in path.parent.iterdir()] == ["metrics.json"]


def events(directory):
    found = {}
    for path in sorted(Path(directory).glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    return found


@pytest.mark.parametrize("name", ["", "val"])
def test_numbers_and_images_by_step(tmp_path, name):
    writer = metrics_output.EvaluationWriter(tmp_path, name)
    assert Path(writer.directory) == tmp_path / "eval" / name
    image = np.full((5, 7, 3), 200, np.uint8)
    path = writer.write(
        30, {"a/b": 0.25, "c": math.nan}, [("eval_side_by_side_0_0", image)], {"num_images": 4}
    )
    writer.write(60, {"a/b": 0.5})
    writer.close()
    assert json.loads(Path(path).read_text()) == {
        "step": 30,
        "num_images": 4,
        "metrics": {"a/b": 0.25, "c": None},
    }
    assert sorted(p.name for p in Path(writer.directory).glob("*.json")) == [
        "metrics-30.json",
        "metrics-60.json",
    ]
    found = events(writer.directory)
    assert {step: float(value) for step, value in found["a/b"].items()} == {30: 0.25, 60: 0.5}
    assert math.isnan(float(found["c"][30]))
    width, height, encoded = found["eval_side_by_side_0_0"][30]
    assert (int(width), int(height)) == (7, 5)
    np.testing.assert_array_equal(tf.io.decode_png(encoded), image)


def test_a_line_of_json_for_each_evaluation(tmp_path):
    writer = metrics_output.EvaluationWriter(tmp_path, "val")
    writer.write(10, {"a": 0.5, "b": NAN})
    writer.write(20, {"a": 0.75}, extra={"checkpoint": "ckpt-2"})
    lines = (tmp_path / "eval" / "val" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 10, "metrics": {"a": 0.5, "b": None}},
        {"step": 20, "checkpoint": "ckpt-2", "metrics": {"a": 0.75}},
    ]


def test_precision_recall_curves_for_tensorboard(tmp_path):
    writer = metrics_output.EvaluationWriter(tmp_path, "")
    counts = metrics_output.PrecisionRecallCounts(
        np.array([2.0, 1.0, 0.0]), np.array([2.0, 0.0, 0.0]), np.array([2.0, 3.0, 4.0])
    )
    writer.write_curves(7, {"cat": counts})
    writer.close()
    [value] = [
        value
        for path in (tmp_path / "eval").glob("events*")
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    ]
    assert value.tag == "PrecisionRecall@0.5IOU/cat/pr_curves"
    assert value.metadata.plugin_data.plugin_name == "pr_curves"
    hits, wrong, _, missed, precision, recall = tf.make_ndarray(value.tensor)
    assert hits.tolist() == [2, 1, 0]
    assert wrong.tolist() == [2, 0, 0]
    assert missed.tolist() == [2, 3, 4]
    assert precision.tolist() == [0.5, 1, 1]
    assert recall.tolist() == [0.5, 0.25, 0]
