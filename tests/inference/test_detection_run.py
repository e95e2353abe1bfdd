"""Detection runs: output, skipped images, resumption."""

import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from object_detection_mtl.inference.detection_options import DetectionOptions
from object_detection_mtl.inference.detection_run import detect_files
from object_detection_mtl.inference.sources import input_files
from object_detection_mtl.inference.writers import drawn_images
from tests.inference.detection_images import (
    GREY,
    predictor,
    read,
    stops_at,
)


def test_shards_of_a_beam_run_in_the_output_directory_are_an_error(directory, tmp_path):
    shard = tmp_path / "detections-00001-of-00002.json"
    shard.touch()
    files = input_files.find_input_files([str(directory)])
    with pytest.raises(FileExistsError, match=f"{shard} and perhaps more"):
        detect_files(predictor, files, DetectionOptions(tmp_path))
    shard.unlink()
    assert detect_files(predictor, files, DetectionOptions(tmp_path)).num_done == 2
    # The run's own results are replaced.
    assert detect_files(predictor, files, DetectionOptions(tmp_path)).num_done == 2


def test_unreadable_images_are_reported_and_skipped(directory, tmp_path, capsys):
    output = tmp_path / "deep" / "out"
    files = input_files.find_input_files([str(directory)])
    summary = detect_files(predictor, files, DetectionOptions(output, class_names={1: "cat"}))
    assert (summary.num_files, summary.num_done, summary.num_detections) == (3, 2, 6)
    assert list(summary.failures) == [str(directory / "b.jpg")]
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{directory / 'b.jpg'}: skipped, not an image of a supported format")

    detections = read(output / "detections.json")
    assert [(row["image_id"], row["category_id"]) for row in detections] == [
        (1, 1),
        (1, 2),
        (1, 1),
        (3, 1),
        (3, 2),
        (3, 1),
    ]
    assert detections[3]["bbox"] == [0, 0, 250, 175]
    images = read(output / "images.json")
    assert [image["file_name"] for image in images["images"]] == [
        f"{directory}/a.jpg",
        f"{directory}/c.png",
    ]
    assert images["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "class 2"}]


def is_drawn(output, name, row, column):
    """Return whether a pixel of the drawing differs from the background."""
    with Image.open(output / "drawn_images" / name) as drawn:
        pixel = np.asarray(drawn)[row, column]
    return bool(np.abs(pixel.astype(int) - GREY).max() > 20)


def test_boxes_are_drawn_from_min_score(directory, tmp_path):
    files = input_files.find_input_files([str(directory / "c.png")])
    for min_score, second in ((0.7, False), (0.5, True)):
        output = tmp_path / f"out{min_score}"
        detect_files(predictor, files, DetectionOptions(output, min_score=min_score))
        with Image.open(output / "drawn_images" / "c.jpg") as drawn:
            assert drawn.size == (500, 350)
        assert is_drawn(output, "c.jpg", 174, 50)  # lower side of the first box
        assert is_drawn(output, "c.jpg", 200, 125) == second  # left side of the second
        assert not is_drawn(output, "c.jpg", 300, 0)  # left side of the third
        assert len(read(output / "detections.json")) == 3  # the file has them all


def test_max_detections_without_drawings(directory, tmp_path):
    files = input_files.find_input_files([str(directory / "a.jpg")])
    options = DetectionOptions(tmp_path / "out", max_detections=1, save_images=False)
    assert detect_files(predictor, files, options).num_detections == 1
    assert sorted(os.listdir(tmp_path / "out")) == ["detections.json", "images.json"]


def test_an_image_too_large_for_the_memory_is_skipped(directory, tmp_path, capsys):
    def too_large_for_the_first(image):
        if image.shape[1] == 400:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return predictor(image)

    files = input_files.find_input_files([str(directory / "a.jpg"), str(directory / "c.png")])
    summary = detect_files(too_large_for_the_first, files, DetectionOptions(tmp_path / "out"))
    assert summary.num_done == 1
    assert "not enough memory to detect on it (400x330 pixels)" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_detections_before_a_stop_are_written(directory, tmp_path, error):
    def stop_at_the_second(image):
        if image.shape[1] == 500:
            raise error
        return predictor(image)

    files = input_files.find_input_files([str(directory / "a.jpg"), str(directory / "c.png")])
    with pytest.raises(error):
        detect_files(stop_at_the_second, files, DetectionOptions(tmp_path / "out"))
    assert {row["image_id"] for row in read(tmp_path / "out" / "detections.json")} == {1}
    assert len(read(tmp_path / "out" / "images.json")["images"]) == 1


def test_a_very_long_image_is_drawn_as_png(tmp_path, monkeypatch):
    monkeypatch.setattr(drawn_images, "_MAX_JPEG_SIDE", 399)
    Image.new("L", (400, 20)).save(tmp_path / "a.jpg")
    detect_files(
        predictor,
        input_files.find_input_files([str(tmp_path / "a.jpg")]),
        DetectionOptions(tmp_path / "out"),
    )
    assert os.listdir(tmp_path / "out" / "drawn_images") == ["a.png"]


def test_drawings_have_unique_names(tmp_path):
    for name in ("x/a.jpg", "x/a.png", "x/deep/a.jpg", "y/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    files = input_files.find_input_files([str(tmp_path / "x"), str(tmp_path / "y")], recursive=True)
    planned = drawn_images.plan_drawings(files, tmp_path / "out")
    assert [str(target.relative_to(tmp_path / "out")) for target in planned] == [
        "a.jpg",
        "a-2.jpg",
        "deep/a.jpg",
        "a-3.jpg",
    ]


def test_an_input_image_is_never_overwritten(directory, tmp_path):
    drawn = tmp_path / "out" / "drawn_images"
    drawn.mkdir(parents=True)
    (directory / "a.jpg").rename(drawn / "a.jpg")
    before = (drawn / "a.jpg").read_bytes()
    files = input_files.find_input_files([str(drawn / "a.jpg")])
    with pytest.raises(ValueError, match="would overwrite the image .*give another"):
        detect_files(predictor, files, DetectionOptions(tmp_path / "out"))
    assert (drawn / "a.jpg").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_score": 1.5}, "min_score is 1.5, expected 0 to 1"),
        ({"max_detections": 0}, "max_detections is 0, expected at least 1"),
        ({"batch_size": 0}, "batch_size is 0, expected at least 1"),
        ({"num_readers": -1}, "num_readers is -1, expected at least 0"),
        ({"output_format": "xml"}, "output_format is 'xml', expected one of json, tfrecord, both"),
        ({"discard_image_pixels": True}, "discard_image_pixels is for the TFRecord"),
    ],
)
def test_options_out_of_range(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        DetectionOptions(tmp_path, **options)


# Resumption -------------------------------------------------------------------------------------


@pytest.fixture
def five(tmp_path):
    """Return five files of different widths, the third of them unreadable."""
    source = tmp_path / "five"
    source.mkdir()
    for number in range(1, 6):
        path = source / f"{number}.png"
        Image.new("RGB", (10 + number, 20)).save(path)
    (source / "3.png").write_bytes(b"no image")
    return input_files.find_input_files([str(source)])


def test_an_interrupted_run_is_resumed_without_repeating_or_losing_an_image(five, tmp_path):
    options = DetectionOptions(tmp_path / "out", model_version="m")
    looked_at = []
    with pytest.raises(KeyboardInterrupt):
        detect_files(stops_at(14, looked_at), five, options)
    assert looked_at == [11, 12, 14]
    assert len(read(tmp_path / "out" / "detections.json")) == 6
    # As after a crash of the machine while the next line was written.
    with (tmp_path / "out" / "progress.jsonl").open("a") as file:
        file.write('{"image": {"id": 4, "fi')
    looked_at.clear()
    summary = detect_files(stops_at(0, looked_at), five, options)
    assert looked_at == [14, 15]
    assert (summary.num_done, summary.num_resumed, len(summary.failures)) == (4, 2, 1)
    assert summary.num_detections == 12
    detect_files(predictor, five, DetectionOptions(tmp_path / "at once"))
    for name in ("detections.json", "images.json"):
        assert read(tmp_path / "out" / name) == read(tmp_path / "at once" / name)
    for output in ("out", "at once"):
        assert sorted(os.listdir(tmp_path / output)) == [
            *["detections.json", "drawn_images", "images.json"]
        ]
        assert len(os.listdir(tmp_path / output / "drawn_images")) == 4


@pytest.mark.parametrize(
    "change", [{"model_version": "other"}, {"max_detections": 1}, {"files": 1}]
)
def test_a_run_with_other_options_starts_again(five, tmp_path, change, caplog):
    with pytest.raises(KeyboardInterrupt):
        detect_files(stops_at(14, []), five, DetectionOptions(tmp_path / "out", model_version="m"))
    files = five[change.pop("files", 0) :]
    looked_at = []
    options = DetectionOptions(tmp_path / "out", **{"model_version": "m", **change})
    summary = detect_files(stops_at(0, looked_at), files, options)
    assert summary.num_resumed == 0
    assert len(looked_at) == len(files) - 1
    assert "starting again" in caplog.text
