"""Detection runs on records: formats, resumption, batches."""

import dataclasses
import os
import signal
import subprocess
import sys
import weakref

import numpy as np
import pytest

from object_detection_mtl.inference.detection_options import DetectionOptions
from object_detection_mtl.inference.detection_run import detect_files
from object_detection_mtl.inference.predictor import ImageDetections, PreparedImage, StagedPredictor
from object_detection_mtl.inference.sources import input_files
from tests.inference import source_files
from tests.inference.detection_images import (
    predictor,
    read,
    stops_at,
    write_record,
)


def features_of(path, key):
    """Return the values of a feature of each example."""
    found = []
    for example in source_files.read_record(path):
        feature = example.features.feature[key]
        found.append(list(getattr(feature, feature.WhichOneof("kind") or "int64_list").value))
    return found


def test_a_record_with_detections_has_the_keys_of_the_od_api(directory, tmp_path):
    record = write_record(tmp_path / "a.record", [11, None, 12])
    files = input_files.find_input_files([str(record), str(directory / "a.jpg")])
    options = DetectionOptions(tmp_path / "out", output_format="tfrecord", save_images=False)
    summary = detect_files(predictor, files, options)
    assert (summary.num_done, summary.num_detections) == (3, 9)
    assert list(summary.failures) == [f"{record}:1"]
    assert os.listdir(tmp_path / "out") == ["detections.record"]
    path = tmp_path / "out" / "detections.record"
    np.testing.assert_allclose(features_of(path, "image/detection/score"), [[0.9, 0.6, 0.1]] * 3)
    assert features_of(path, "image/detection/label") == [[1, 2, 1]] * 3
    for side, expected in {"ymin": [0, 0.25, 0], "xmax": [0.5, 1, 1]}.items():
        assert features_of(path, f"image/detection/bbox/{side}") == [expected] * 3
    encoded = [
        source_files.png(20, 11),
        source_files.png(20, 12),
        (directory / "a.jpg").read_bytes(),
    ]
    assert features_of(path, "image/encoded") == [[one] for one in encoded]


def test_pixels_can_be_dropped(directory, tmp_path):
    record = write_record(tmp_path / "a.record", [11])
    files = input_files.find_input_files([str(record), str(directory / "a.jpg")])
    detect_files(
        predictor,
        files,
        DetectionOptions(tmp_path / "out", output_format="both", discard_image_pixels=True),
    )
    path = tmp_path / "out" / "detections.record"
    assert all("image/encoded" not in e.features.feature for e in source_files.read_record(path))
    assert [len(labels) for labels in features_of(path, "image/detection/label")] == [3, 3]
    assert len(read(tmp_path / "out" / "detections.json")) == 6
    assert sorted(
        str(drawn.relative_to(tmp_path / "out" / "drawn_images"))
        for drawn in (tmp_path / "out" / "drawn_images").rglob("*.jpg")
    ) == ["a.jpg", "a.record/000000.jpg"]


@pytest.mark.parametrize("left", ["more", "less", "nothing"])
def test_an_interrupted_record_is_resumed_with_complete_examples(tmp_path, left):
    widths = [11, None, 12, 14, 15]
    files = input_files.find_input_files([str(write_record(tmp_path / "a.record", widths))])
    options = DetectionOptions(tmp_path / "out", model_version="m", output_format="both")
    with pytest.raises(KeyboardInterrupt):
        detect_files(stops_at(14, []), files, options)
    path = tmp_path / "out" / "detections.record.incomplete"
    whole = path.read_bytes()
    # As if the process was killed before it wrote the line of the log, or the machine crashed
    # before the data were on disk.
    states = {"more": whole + whole[:100], "less": whole[:-1], "nothing": b""}
    path.write_bytes(states[left])
    looked_at = []
    summary = detect_files(stops_at(0, looked_at), files, options)
    assert looked_at == {"more": [], "less": [12], "nothing": [11, 12]}[left] + [14, 15]
    assert (summary.num_done, summary.num_detections, len(summary.failures)) == (4, 12, 1)
    detect_files(predictor, files, dataclasses.replace(options, output_dir=tmp_path / "at once"))
    names = ["detections.json", "detections.record", "drawn_images", "images.json"]
    assert sorted(os.listdir(tmp_path / "out")) == names
    for name in ("detections.json", "detections.record", "images.json"):
        ours, at_once = ((tmp_path / output / name).read_bytes() for output in ("out", "at once"))
        assert ours == at_once, name


KILLED = """
import os, signal, sys, time
from pathlib import Path
from object_detection_mtl.inference.sources import input_files
from object_detection_mtl.inference.detection_options import DetectionOptions
from object_detection_mtl.inference.detection_run import detect_files
from tests.inference.detection_images import predictor

def killed(image):
    # Images are drawn and written while the next ones are detected on.
    while image.shape[1] == 14:
        if (Path(sys.argv[2]) / "progress.jsonl").read_bytes().count(b"\\n") == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.01)
    return predictor(image)

files = input_files.find_input_files(sys.argv[1:2])
options = DetectionOptions(Path(sys.argv[2]), model_version="m", output_format="both")
detect_files(killed, files, options)
"""


@pytest.mark.slow
def test_a_killed_run_is_resumed(tmp_path):
    record = write_record(tmp_path / "a.record", [11, 12, 14, 15])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(record), str(tmp_path / "out")], timeout=600
    )
    assert killed.returncode == -signal.SIGKILL
    looked_at = []
    options = DetectionOptions(tmp_path / "out", model_version="m", output_format="both")
    summary = detect_files(
        stops_at(0, looked_at), input_files.find_input_files([str(record)]), options
    )
    assert looked_at == [14, 15]
    assert summary.num_resumed == 2
    assert [row["id"] for row in read(tmp_path / "out" / "images.json")["images"]] == [1, 2, 3, 4]
    assert len(source_files.read_record(tmp_path / "out" / "detections.record")) == 4


def in_batches(sizes):
    """Return a predictor that records its batches and detects the width of an image."""

    def detect(widths):
        sizes.append(list(widths))
        box = np.zeros((1, 4), np.float32)
        return [ImageDetections(box, np.ones(1, np.float32), np.array([width])) for width in widths]

    return StagedPredictor(lambda p: PreparedImage(p.shape[1], group=p.shape[1]), detect)


def test_detections_of_batches_belong_to_their_images(tmp_path):
    widths = [11, 12, 11, None, 12, 11, 11, 13]
    files = input_files.find_input_files([str(write_record(tmp_path / "a.record", widths))])
    sizes = []
    options = DetectionOptions(tmp_path / "out", batch_size=2)
    summary = detect_files(in_batches(sizes), files, options)
    assert sizes == [[11, 11], [12, 12], [11, 11], [13]]
    assert (summary.num_done, summary.num_detections) == (7, 7)
    rows = read(tmp_path / "out" / "detections.json")
    assert [(row["image_id"], row["category_id"]) for row in rows] == [
        (place, width) for place, width in enumerate(widths, start=1) if width
    ]
    with pytest.raises(ValueError, match="batch_size is 2, but the model takes one image"):
        detect_files(predictor, files, options)


def test_a_truncated_record_is_reported_and_the_next_one_read(tmp_path, capsys):
    truncated = write_record(tmp_path / "a.record", [11, 12])
    truncated.write_bytes(truncated.read_bytes()[:-1])
    files = input_files.find_input_files(
        [str(truncated), str(write_record(tmp_path / "b.record", [14]))]
    )
    looked_at = []
    summary = detect_files(stops_at(0, looked_at), files, DetectionOptions(tmp_path / "out"))
    assert looked_at == [11, 14]
    assert (summary.num_done, summary.num_files) == (2, 3)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{truncated}: is truncated: record number 1 ")


@pytest.mark.parametrize(("batch_size", "most"), [(1, 6), (2, 22)])
def test_memory_holds_a_bounded_number_of_images(tmp_path, batch_size, most):
    """One image of a rare size, whose batch never fills."""
    files = input_files.find_input_files(
        [str(write_record(tmp_path / "a.record", [9] + [10] * 99))]
    )
    seen, alive = [], []

    def prepare(image):
        seen.append(weakref.ref(image))
        return PreparedImage(image.shape[1], group=image.shape[1])

    def detect(widths):
        alive.append(sum(reference() is not None for reference in seen))
        return [predictor(np.zeros((1, 1, 3), np.uint8)) for _ in widths]

    options = DetectionOptions(
        tmp_path / "out", batch_size=batch_size, num_readers=2, save_images=False
    )
    detect_files(StagedPredictor(prepare, detect), files, options)
    assert len(seen) == 100
    assert max(alive) <= most
