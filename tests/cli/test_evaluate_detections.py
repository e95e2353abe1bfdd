import json

import pytest

from object_detection_mtl.cli import evaluate_detections
from tests import command_line
from tests.reporting.dataset_files import (
    coco_results,
    write_coco,
    write_records,
    write_voc,
    write_voc_texts,
)


@pytest.fixture
def results(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(coco_results()))
    return str(path)


def run(*arguments):
    return command_line.run(evaluate_detections, *map(str, arguments))


def values(out):
    """Return the printed metrics by name."""
    rows = [line.rsplit(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    return {name.strip(): value for name, value in rows}


def test_metrics_are_printed_and_a_report_is_written(results, tmp_path):
    report, export = tmp_path / "report", tmp_path / "export"
    truth = write_voc(tmp_path / "voc")
    done = run(results, "--groundtruth", truth, "--report", report, "--coco_export", export)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1] == "mine: 3 images"
    assert done.out.splitlines()[-2:] == [str(report / "report.html"), str(export)]
    assert (export / "data" / "a.jpg").is_file()
    found = values(done.out)
    # The cat of image a is found, so is the dog of image b (IoU 30/38).
    assert found["AP@0.5IOU/cat"] == found["AP@0.5IOU/dog"] == "1.0000"
    assert found["PascalBoxes_Precision/mAP@0.5IOU"] == "1.0000"
    assert "Evaluation of mine" in (report / "report.html").read_text()
    metrics = json.loads((report / "metrics.json").read_text())["metrics"]
    assert metrics["PascalBoxes_Precision/mAP@0.5IOU"] == 1


@pytest.mark.parametrize("kind", ["voc", "records"])
def test_other_formats_give_the_same_metrics(kind, results, tmp_path):
    truth = write_coco(tmp_path / "truth.json")
    expected = values(run(results, "--groundtruth", truth).out)
    write = write_voc_texts if kind == "voc" else write_records
    found = values(run(write(tmp_path / f"found-{kind}"), "--groundtruth", truth).out)
    # Records hold float32 fractions of the image.
    assert {key: float(value) for key, value in found.items() if value != "-"} == pytest.approx(
        {key: float(value) for key, value in expected.items() if value != "-"}, abs=1e-3
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--groundtruth=missing.json"], "error: ground truth 'missing.json' does not exist"),
        (["--groundtruth=missing"], "error: ground truth 'missing' does not exist"),
        (["--groundtruth=tests"], "error: ground truth 'tests' is not a PASCAL VOC directory"),
        (["--groundtruth=missing*"], "no file matches 'missing*'"),
        (["--groundtruth=x", f"--report={__file__}"], "is a file; give a directory"),
        (["--groundtruth=x", f"--coco_export={__file__}"], "is a file; give a directory"),
        ([], "error: --groundtruth is required"),
    ],
)
def test_missing_files_are_one_line(arguments, message, results):
    done = run(results, *arguments)
    assert done.code == 1
    assert done.err.startswith("error: ")
    assert message in done.err
    assert done.err.count("\n") == 1


def test_without_detections(tmp_path):
    done = run("--groundtruth", write_voc(tmp_path / "voc"))
    assert done.code == 1
    assert "give the detections" in done.err


def test_a_failed_report_leaves_no_file(results, tmp_path):
    (tmp_path / "taken").write_text("")
    done = run(
        results, "--groundtruth", write_voc(tmp_path / "voc"), "--report", tmp_path / "taken"
    )
    assert done.code == 1
    assert "taken" in done.err
    assert (tmp_path / "taken").read_text() == ""


def test_skipped_detections_are_noted(tmp_path):
    rows = coco_results()
    rows[0] = {**rows[0], "file_name": "x.jpg", "image_id": 99}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(rows))
    truth = write_voc(tmp_path / "voc")
    assert "--skip_unknown" in run(path, "--groundtruth", truth).err
    done = run(path, "--groundtruth", truth, "--skip_unknown")
    assert done.code == 0
    assert "\nnote: Skipped 1 detection of 1 image" in done.out
