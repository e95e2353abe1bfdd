import time

from object_detection_mtl.export.runtimes import runtime_choice
from tests.export.runtimes.test_equality import THREE, detections


def engine(seconds, rows=THREE):
    def run(sample):
        time.sleep(seconds)
        return detections(*rows)

    return run


def unavailable():
    raise ValueError("it is not installed\nand more")


def test_the_fastest_equal_one_is_taken_and_all_are_told():
    makers = {
        "openvino": lambda: engine(0.01),
        "wrong": lambda: engine(0.0, [(0.9, 3, 0)]),
        "absent": unavailable,
    }
    chosen, run = runtime_choice.choose_engine(engine(0.04), makers, {})
    assert chosen.engine == "openvino"
    assert run({})["num_detections"] == [3]
    line = str(chosen)
    assert line.startswith("engine openvino: the fastest on this machine")
    assert "\n" not in line
    assert "wrong rejected, class 1 with score 0.9" in line
    assert "absent rejected, it is not installed" in line


def test_tensorflow_where_nothing_is_faster():
    chosen, _ = runtime_choice.choose_engine(engine(0.0), {"openvino": lambda: engine(0.02)}, {})
    assert chosen.engine == "tensorflow"
    assert chosen.seconds["tensorflow"] < chosen.seconds["openvino"]
