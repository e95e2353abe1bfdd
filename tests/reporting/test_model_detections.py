import dataclasses

import numpy as np
import pytest
from PIL import Image

from object_detection_mtl.reporting.evaluated_images import make_detections
from object_detection_mtl.reporting.model_detections import detect_in_images
from tests.dataset_tools.voc_files import block_image, encoded
from tests.reporting.dataset_files import HEIGHT, WIDTH, encoded_image
from tests.reporting.hand_made import CAT, A, evaluation_set, image

TRUTH = evaluation_set(
    [image([(A, CAT)], [], name, read_bytes=lambda: encoded_image(0)) for name in ("a", "b", "c")]
)


class Predictor:
    """Finds a cat in the upper left quarter; fails at the image `fails_at`."""

    def __init__(self, fails_at=None):
        self.calls = 0
        self.fails_at = fails_at

    def __call__(self, pixels):
        assert pixels.shape == (HEIGHT, WIDTH, 3)
        if self.calls == self.fails_at:
            raise KeyboardInterrupt
        self.calls += 1
        return make_detections([[0, 0, 0.5, 0.5]], [0.75], [CAT])


def detect(predictor, path=None, model="model", truth=TRUTH):
    made = detect_in_images(lambda: predictor, truth, "name", model=model, progress_path=path)
    return [item.detections.boxes.tolist() for item in made.images]


BOXES = [[[0, 0, HEIGHT / 2, WIDTH / 2]]] * 3


def test_boxes_are_in_pixels():
    predictor = Predictor()
    assert detect(predictor) == BOXES
    assert predictor.calls == 3


@pytest.mark.parametrize(
    ("is_file", "size", "seen", "scale"),
    [
        (True, (40, 30), (40, 30, 3), (40, 30)),  # annotated in a viewer
        (True, (30, 40), (30, 40, 3), (30, 40)),  # as stored
        (True, (20, 15), (40, 30, 3), (20, 15)),  # on a small copy of what a viewer shows
        (True, (None, None), (40, 30, 3), (40, 30)),
        (False, (40, 30), (30, 40, 3), (30, 40)),  # in a record, as training sees it
    ],
)
def test_the_pixels_are_those_of_the_annotation(is_file, size, seen, scale):
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(block_image(40, 30), exif=exif)
    one = image([(A, CAT)], [], "a", read_bytes=lambda: data, is_file=is_file)
    one = dataclasses.replace(one, height=size[0], width=size[1])

    def predict(pixels):
        assert pixels.shape == seen
        return make_detections([[0, 0, 0.5, 0.5]], [0.75], [CAT])

    found = detect(predict, truth=evaluation_set([one]))
    assert found == [[[0, 0, scale[0] / 2, scale[1] / 2]]]


def test_an_interrupted_run_continues(tmp_path):
    path = tmp_path / "new" / "progress.jsonl"
    with pytest.raises(KeyboardInterrupt):
        detect(Predictor(fails_at=2), path)
    with path.open("a") as file:
        file.write('{"image_id": "c", "bo')  # The process ended while it wrote.
    predictor = Predictor()
    assert detect(predictor, path) == BOXES
    assert predictor.calls == 1
    assert detect(Predictor(fails_at=0), path) == BOXES  # Nothing is left to do.


@pytest.mark.parametrize("change", ["model", "images"])
def test_another_model_or_dataset_begins_anew(change, tmp_path):
    path = tmp_path / "progress.jsonl"
    detect(Predictor(), path)
    predictor = Predictor()
    if change == "model":
        detect(predictor, path, model="other")
        assert predictor.calls == 3
    else:
        detect(predictor, path, truth=dataclasses.replace(TRUTH, images=TRUTH.images[:2]))
        assert predictor.calls == 2


def test_an_image_that_changed_is_detected_again_and_one_that_is_gone_is_not(tmp_path):
    def gone():
        raise FileNotFoundError("gone")

    path = tmp_path / "progress.jsonl"
    detect(Predictor(), path)
    changed = dataclasses.replace(TRUTH.images[1], read_bytes=lambda: encoded_image(1))
    missing = dataclasses.replace(TRUTH.images[2], read_bytes=gone)
    predictor = Predictor()
    truth = dataclasses.replace(TRUTH, images=[TRUTH.images[0], changed, missing])
    assert detect(predictor, path, truth=truth) == BOXES
    assert predictor.calls == 1


def test_an_image_that_cannot_be_read_is_named():
    for read_bytes, message in (
        (None, "image 'a' has no image file; .* --image_dir"),
        (lambda: b"no image", "image 'a': "),
    ):
        images = [dataclasses.replace(TRUTH.images[0], read_bytes=read_bytes)]
        with pytest.raises(ValueError, match=message):
            detect(Predictor(), truth=dataclasses.replace(TRUTH, images=images))


def test_scores_survive_the_progress_file(tmp_path):
    path = tmp_path / "progress.jsonl"
    detect(Predictor(), path)
    made = detect_in_images(Predictor, TRUTH, "name", model="model", progress_path=path)
    np.testing.assert_array_equal(made.images[0].detections.scores, [0.75])
    assert made.images[0].detections.classes.tolist() == [CAT]
