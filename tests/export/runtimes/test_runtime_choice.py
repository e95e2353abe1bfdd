"""Choice of the fastest engine with equal detections."""

import re
import time

import numpy as np
import pytest

from object_detection_mtl.export.runtimes import runtime_choice


def detections(*rows, size=5):
    """Return detections (score, class, shift of the box) of one image, padded to `size`."""
    boxes, scores, classes = np.zeros((1, size, 4)), np.zeros((1, size)), np.ones((1, size))
    for i, (score, label, shift) in enumerate(rows):
        boxes[0, i] = np.array([0.1, 0.2, 0.3, 0.4]) + shift
        scores[0, i], classes[0, i] = score, label
    return {
        "detection_boxes": boxes,
        "detection_scores": scores,
        "detection_classes": classes,
        "num_detections": np.array([len(rows)], np.float32),
    }


THREE = [(0.9, 1, 0), (0.5, 2, 0.1), (0.2, 1, 0.2)]


def engine(seconds, rows=THREE):
    def run(sample):
        time.sleep(seconds)
        return detections(*rows)

    return run


def unavailable():
    raise ValueError("it is not installed\nand more")


def test_the_fastest_engine_with_equal_detections_is_chosen():
    makers = {
        "openvino": lambda: engine(0.01),
        "wrong": lambda: engine(0.0, [(0.9, 3, 0)]),
        "absent": unavailable,
    }
    chosen, run = runtime_choice.choose_engine(engine(0.04), makers, [{}])
    assert chosen.engine == "openvino"
    assert run({})["num_detections"] == [3]
    line = str(chosen)
    assert line.startswith("engine openvino: the fastest on this machine")
    assert "\n" not in line
    assert "wrong rejected, class 1 with score 0.9" in line
    assert "absent rejected, it is not installed" in line


def test_tensorflow_is_chosen_if_it_is_the_fastest():
    chosen, _ = runtime_choice.choose_engine(engine(0.0), {"openvino": lambda: engine(0.02)}, [{}])
    assert chosen.engine == "tensorflow"
    assert chosen.seconds["tensorflow"] < chosen.seconds["openvino"]


def test_a_faster_engine_within_the_maximum_difference_is_chosen():
    """On the mean over all images; the difference of nearly equal scores is a tenth."""
    near = [(0.8, 1, 0), (0.4, 2, 0.1), (0.24, 1, 0.2)]
    makers = {
        "equal": lambda: engine(0.02),
        "int8": lambda: engine(0.0, near),
        "wrong": lambda: engine(0.0, [(0.9, 3, 0)]),
        "infinite": lambda: engine(0.0, [(np.inf, 1, 0)]),
    }
    chosen, _ = runtime_choice.choose_engine(engine(0.04), makers, [{}, {}], max_difference=0.2)
    assert chosen.engine == "int8"
    # 1 - (0.8 + 0.4 + 0.2) / (0.9 + 0.5 + 0.24)
    assert chosen.differences == {"int8": pytest.approx(1 - 1.4 / 1.64)}
    line = str(chosen)
    assert "equal TensorFlow's or differ by at most 0.2 on 2 images (int8 0.0" in line
    assert "s with difference 0.146, equal 0.0" in line
    assert "wrong rejected, difference 1.000; infinite rejected, boxes or scores are n" in line
    strict, _ = runtime_choice.choose_engine(engine(0.04), makers, [{}, {}])
    assert strict.engine == "equal"


@pytest.mark.parametrize("value", [-0.1, 1.0])
def test_impossible_differences(value):
    with pytest.raises(ValueError, match="auto_max_difference is .*, expected 0 to less than 1"):
        runtime_choice.AutoOptions(max_difference=value)


@pytest.mark.parametrize(
    "rows",
    [
        THREE,
        [(0.9009, 1, 0), (0.4995, 2, 0.1005), (0.2, 1, 0.2)],
        [(0.9, 1, 0), (0.5, 2, 0.1), (0.2005, 3, 0)],  # at the last place, after truncation
    ],
)
def test_equal_detections(rows):
    assert (
        runtime_choice.explain_difference(detections(*rows, size=3), detections(*THREE, size=3))
        == ""
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([(0.9, 2, 0), *THREE[1:]], "class 1 with score 0.9.* is missing"),
        ([(0.898, 1, 0), *THREE[1:]], "class 1 with score 0.9.* is missing"),
        ([(0.9, 1, 0.0011), *THREE[1:]], "class 1 with score 0.9.* is missing"),
        ([THREE[0], *THREE], "class 1 with score 0.9000 is extra"),
        ([], "class 1 .* is missing"),
        (THREE[:2], "class 1 with score 0.2.* is missing"),
        ([*THREE[:2], (0.2005, 3, 0)], "class 1 with score 0.2.* is missing"),
        ([(np.nan, 1, 0), *THREE[1:]], "not finite"),
    ],
)
def test_different_detections(rows, words):
    difference = runtime_choice.explain_difference(detections(*rows), detections(*THREE))
    assert re.search(words, difference)


def test_ties_may_be_in_another_order():
    tie = [(0.5, 1, 0), (0.5, 2, 0.1), (0.1, 1, 0)]
    found = detections(tie[1], tie[0], tie[2])
    assert runtime_choice.explain_difference(found, detections(*tie)) == ""


def test_empty_results():
    assert runtime_choice.explain_difference(detections(), detections()) == ""
    assert runtime_choice.explain_difference(detections(THREE[0]), detections()) != ""
