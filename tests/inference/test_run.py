"""A run over files: what it writes, what it leaves out, and what an interruption keeps."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from object_detection_mtl.inference import pictures, run
from object_detection_mtl.inference.run import Options, detect_files, plan_targets
from object_detection_mtl.inference.stages import Found

GREY = 90


@pytest.fixture
def folder(tmp_path):
    """a.jpg and c.png are pictures, b.jpg is not."""
    source = tmp_path / "photos"
    source.mkdir()
    for name, size in (("a.jpg", (400, 330)), ("c.png", (500, 350))):
        Image.new("RGB", size, (GREY,) * 3).save(source / name)
    (source / "b.jpg").write_bytes(b"no picture")
    return source


def predictor(picture):
    """Three boxes on every picture: the upper left quarter and two of lower scores."""
    assert picture.dtype == np.uint8 and picture.ndim == 3
    boxes = np.array([[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1], [0, 0, 1, 1]], np.float32)
    return Found(boxes, np.array([0.9, 0.6, 0.1], np.float32), np.array([1, 2, 1]))


def read(path):
    return json.loads(path.read_text())


def test_files_that_cannot_be_read_are_named_and_the_rest_goes_on(folder, tmp_path, capsys):
    output = tmp_path / "deep" / "out"
    files = pictures.find([str(folder)])
    summary = detect_files(predictor, files, Options(output, names={1: "cat"}))
    assert (summary.num_files, summary.num_done, summary.num_detections) == (3, 2, 6)
    assert list(summary.failures) == [str(folder / "b.jpg")]
    [line] = capsys.readouterr().err.splitlines()
    assert line == f"{folder / 'b.jpg'}: left out, not a picture (it starts with b'no pictu')"

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
        f"{folder}/a.jpg",
        f"{folder}/c.png",
    ]
    assert images["categories"] == [{"id": 1, "name": "cat"}, {"id": 2, "name": "class 2"}]


def is_drawn(output, name, row, column):
    """Whether a pixel of the drawn picture differs from the background."""
    with Image.open(output / "pictures" / name) as drawn:
        pixel = np.asarray(drawn)[row, column]
    return bool(np.abs(pixel.astype(int) - GREY).max() > 20)


def test_boxes_are_drawn_from_the_given_score_on(folder, tmp_path):
    files = pictures.find([str(folder / "c.png")])
    for min_score, second in ((0.7, False), (0.5, True)):
        output = tmp_path / f"out{min_score}"
        detect_files(predictor, files, Options(output, min_score=min_score))
        with Image.open(output / "pictures" / "c.jpg") as drawn:
            assert drawn.size == (500, 350)
        assert is_drawn(output, "c.jpg", 174, 50)  # lower side of the first box
        assert is_drawn(output, "c.jpg", 200, 125) == second  # left side of the second
        assert not is_drawn(output, "c.jpg", 300, 0)  # left side of the third
        assert len(read(output / "detections.json")) == 3  # the file has them all


def test_at_most_so_many_detections_and_no_pictures(folder, tmp_path):
    files = pictures.find([str(folder / "a.jpg")])
    options = Options(tmp_path / "out", max_detections=1, save_images=False)
    assert detect_files(predictor, files, options).num_detections == 1
    assert sorted(os.listdir(tmp_path / "out")) == ["detections.json", "images.json"]


def test_memory_that_runs_out_costs_one_picture(folder, tmp_path, capsys):
    def too_large_for_the_first(picture):
        if picture.shape[1] == 400:
            raise tf.errors.ResourceExhaustedError(None, None, "out of memory")
        return predictor(picture)

    files = pictures.find([str(folder / "a.jpg"), str(folder / "c.png")])
    summary = detect_files(too_large_for_the_first, files, Options(tmp_path / "out"))
    assert summary.num_done == 1
    assert "not enough memory to detect on 400x330 pixels" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_was_found_before_a_stop_is_written(folder, tmp_path, error):
    def stop_at_the_second(picture):
        if picture.shape[1] == 500:
            raise error
        return predictor(picture)

    files = pictures.find([str(folder / "a.jpg"), str(folder / "c.png")])
    with pytest.raises(error):
        detect_files(stop_at_the_second, files, Options(tmp_path / "out"))
    assert {row["image_id"] for row in read(tmp_path / "out" / "detections.json")} == {1}
    assert len(read(tmp_path / "out" / "images.json")["images"]) == 1


def test_a_very_long_picture_is_drawn_as_png(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "_LONGEST_SIDE_OF_JPEG", 399)
    Image.new("L", (400, 20)).save(tmp_path / "a.jpg")
    detect_files(predictor, pictures.find([str(tmp_path / "a.jpg")]), Options(tmp_path / "out"))
    assert os.listdir(tmp_path / "out" / "pictures") == ["a.png"]


def test_drawn_pictures_have_names_of_their_own(tmp_path):
    for name in ("x/a.jpg", "x/a.png", "x/deep/a.jpg", "y/a.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    files = pictures.find([str(tmp_path / "x"), str(tmp_path / "y")], recursive=True)
    targets = plan_targets(files, tmp_path / "out")
    assert [str(target.relative_to(tmp_path / "out")) for target in targets] == [
        "a.jpg",
        "a-2.jpg",
        "deep/a.jpg",
        "a-3.jpg",
    ]


def test_no_picture_is_drawn_over(folder, tmp_path):
    drawn = tmp_path / "out" / "pictures"
    drawn.mkdir(parents=True)
    (folder / "a.jpg").rename(drawn / "a.jpg")
    before = (drawn / "a.jpg").read_bytes()
    files = pictures.find([str(drawn / "a.jpg")])
    with pytest.raises(ValueError, match="would overwrite the picture .*give another"):
        detect_files(predictor, files, Options(tmp_path / "out"))
    assert (drawn / "a.jpg").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"min_score": 1.5}, "min_score is 1.5, expected 0 to 1"),
        ({"max_detections": 0}, "max_detections is 0, expected at least 1"),
    ],
)
def test_options_out_of_range(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        Options(tmp_path, **options)


# Going on ---------------------------------------------------------------------------------------


@pytest.fixture
def five(tmp_path):
    """Five pictures of different widths, the third of them none."""
    source = tmp_path / "five"
    source.mkdir()
    for number in range(1, 6):
        path = source / f"{number}.png"
        Image.new("RGB", (10 + number, 20)).save(path)
    (source / "3.png").write_bytes(b"no picture")
    return pictures.find([str(source)])


def stops_at(width, looked_at):
    """A predictor that notes what it sees and is interrupted at a picture of some width."""

    def predict(picture):
        looked_at.append(picture.shape[1])
        if picture.shape[1] == width:
            raise KeyboardInterrupt
        return predictor(picture)

    return predict


def test_an_interrupted_run_goes_on_without_repeating_or_losing_a_picture(five, tmp_path):
    options = Options(tmp_path / "out", model="m")
    looked_at = []
    with pytest.raises(KeyboardInterrupt):
        detect_files(stops_at(14, looked_at), five, options)
    assert looked_at == [11, 12, 14]
    assert len(read(tmp_path / "out" / "detections.json")) == 6
    # As if the machine had gone down in the middle of the next line.
    with (tmp_path / "out" / "progress.jsonl").open("a") as file:
        file.write('{"image": {"id": 4, "fi')
    looked_at.clear()
    summary = detect_files(stops_at(0, looked_at), five, options)
    assert looked_at == [14, 15]
    assert (summary.num_done, summary.num_resumed, len(summary.failures)) == (4, 2, 1)
    assert summary.num_detections == 12
    detect_files(predictor, five, Options(tmp_path / "at once"))
    for name in ("detections.json", "images.json"):
        assert read(tmp_path / "out" / name) == read(tmp_path / "at once" / name)
    for output in ("out", "at once"):
        assert sorted(os.listdir(tmp_path / output)) == [
            *["detections.json", "images.json", "pictures"]
        ]
        assert len(os.listdir(tmp_path / output / "pictures")) == 4


@pytest.mark.parametrize("change", [{"model": "other"}, {"max_detections": 1}, {"files": 1}])
def test_another_run_starts_anew(five, tmp_path, change, caplog):
    with pytest.raises(KeyboardInterrupt):
        detect_files(stops_at(14, []), five, Options(tmp_path / "out", model="m"))
    files = five[change.pop("files", 0) :]
    looked_at = []
    options = Options(tmp_path / "out", **{"model": "m", **change})
    summary = detect_files(stops_at(0, looked_at), files, options)
    assert summary.num_resumed == 0 and len(looked_at) == len(files) - 1
    assert "starting anew" in caplog.text
