"""Event files and JSON of an evaluation."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from object_detection_mtl.evaluation.summaries import EvaluationWriter


def events(directory):
    found = {}
    for path in sorted(Path(directory).glob("events*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    return found


@pytest.mark.parametrize("name", ["", "val"])
def test_numbers_and_pictures_by_step(tmp_path, name):
    writer = EvaluationWriter(tmp_path, name)
    assert Path(writer.directory) == tmp_path / "eval" / name
    picture = np.full((5, 7, 3), 200, np.uint8)
    path = writer.write(
        30, {"a/b": 0.25, "c": math.nan}, [("eval_side_by_side_0_0", picture)], {"num_images": 4}
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
    np.testing.assert_array_equal(tf.io.decode_png(encoded), picture)
