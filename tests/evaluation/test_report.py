import json

from object_detection_mtl.evaluation import report

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
    assert report.table(METRICS, title="step 100").splitlines() == [
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
    assert report.table({}) == "\n"


def test_json_is_valid_and_whole(tmp_path):
    path = tmp_path / "deep" / "metrics.json"
    report.write_json(path, METRICS, {"step": 100, "classes": ["Kätzchen"]})
    text = path.read_text(encoding="utf-8")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    content = json.loads(text, parse_constant=refuse)
    assert content["step"] == 100 and content["classes"] == ["Kätzchen"]
    assert content["metrics"]["PascalBoxes_PerformanceByCategory/AP@0.5IOU/dog"] is None
    assert content["metrics"]["Loss/total_loss"] == 1.23456
    assert content["metrics"].keys() == METRICS.keys()

    report.write_json(path, {"a": 1.0})
    assert json.loads(path.read_text()) == {"metrics": {"a": 1.0}}
    assert [p.name for p in path.parent.iterdir()] == ["metrics.json"]
