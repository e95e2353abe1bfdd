import numpy as np

from object_detection_mtl.fields import Detections
from object_detection_mtl.reporting.checkpoint_report import (
    CheckpointReport,
    DetectionCollector,
)
from object_detection_mtl.reporting.record_examples import image_sources
from object_detection_mtl.reporting.report_contents import ReportOptions
from tests.evaluation.sets import categories
from tests.reporting.dataset_files import HEIGHT, WIDTH, write_records
from tests.reporting.hand_made import CAT, DOG, A, B

NAMES = categories("cat", "dog")


def collected():
    collector = DetectionCollector(NAMES)
    collector.add_groundtruth("a.jpg", [A], [CAT], difficult=[True])
    # Class 7 is not in the label map; its row is dropped, from the main branch too.
    collector.add_detections("a.jpg", [A, B], [0.9, 0.8], [7, DOG])
    collector.add_groundtruth("other", [], [])
    collector.add_detections("other", [], [], [])
    return collector


def main_branches(num_images=2):
    return {
        Detections.num_detections: np.array([2.0, 0.0, 1.0][:num_images]),
        Detections.main_scores: np.array([[0.3, 0.4, 0.0]] * num_images),
        Detections.main_classes: np.array([[0, 1, 0]] * num_images),
    }


def test_images_sizes_and_main_branches(tmp_path):
    collector = collected()
    collector.add_main_branches(main_branches(3))  # The evaluation ended inside of the batch.
    sources = image_sources([str(write_records(tmp_path / "a.record"))])
    first, second = collector.evaluation_set("name", NAMES, sources).images
    assert (first.image_id, first.height, first.width) == ("a.jpg", HEIGHT, WIDTH)
    assert first.groundtruth.difficult.tolist() == [True]
    assert first.detections.classes.tolist() == [DOG]
    assert first.main_branch.classes.tolist() == [DOG]
    assert first.main_branch.scores.tolist() == [0.4]
    assert len(second.main_branch.scores) == 0
    assert (second.height, second.read_bytes) == (None, None)


def test_a_detector_without_refinement_has_none_of_them():
    collector = collected()
    collector.add_main_branches({Detections.num_detections: np.zeros(2)})
    images = collector.evaluation_set("name", NAMES, {}).images
    assert [item.main_branch for item in images] == [None, None]


def test_clearing_forgets_images_and_branches():
    collector = collected()
    collector.add_main_branches(main_branches())
    collector.clear()
    assert collector.evaluation_set("name", NAMES, {}).images == []
    collector.add_groundtruth("a.jpg", [A], [CAT])
    collector.add_detections("a.jpg", [A, B], [0.9, 0.8], [CAT, DOG])
    collector.add_main_branches(main_branches(1))
    (item,) = collector.evaluation_set("name", NAMES, {}).images
    assert item.main_branch.classes.tolist() == [CAT, DOG]


def test_the_report_has_losses_and_figures(tmp_path):
    record = write_records(tmp_path / "a.record")
    report = CheckpointReport(tmp_path / "out", NAMES, [str(record)], ReportOptions(), collected())
    figures = [
        ("eval_side_by_side_0_0", np.zeros((4, 4, 3), np.uint8)),
        ("eval_auxiliary_0_0", np.zeros((4, 4, 3), np.uint8)),
    ]
    page, curves = report.write("ckpt-3", {"Loss/total_loss": 2.5, "Other/metric": 7.0}, figures)
    assert curves == {}  # The only object is difficult.
    text = page.read_text(encoding="utf-8")
    assert "Evaluation of ckpt-3" in text
    assert "Loss/total_loss" in text
    assert "Other/metric" not in text
    assert text.count("<figcaption>auxiliary predictions: image 0 of batch 0</figcaption>") == 1
    assert "side by side" not in text
