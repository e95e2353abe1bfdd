"""Dataset of the positive control: only distant context determines the class."""

from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from benchmarks import context_dataset


@pytest.mark.parametrize("index", range(12))
def test_class_of_a_ring_follows_from_the_context_far_away(index):
    image, objects = context_dataset.draw_context_image(index, seed=3)
    assert image.size == (context_dataset.SIDE, context_dataset.SIDE)
    (context, context_box), *rings = objects
    assert context in ("pot", "racket")
    for name, box in rings:
        assert name == {"pot": "lid", "racket": "hoop"}[context]
        assert context_dataset.box_distance(box, context_box) >= 130
    for _, box in objects:
        assert 0 <= box[0] < box[2] <= context_dataset.SIDE
        assert 0 <= box[1] < box[3] <= context_dataset.SIDE


def test_most_images_hold_a_ring():
    counts = [len(context_dataset.draw_context_image(index, 0)[1]) - 1 for index in range(40)]
    assert min(counts) >= 0
    assert np.mean(counts) > 1.5


def test_box_distance_is_the_larger_gap():
    assert context_dataset.box_distance((0, 0, 10, 10), (15, 40, 20, 50)) == 30
    assert context_dataset.box_distance((15, 40, 20, 50), (0, 0, 10, 10)) == 30
    assert context_dataset.box_distance((0, 0, 10, 10), (5, 5, 20, 20)) == 0


def test_a_seed_draws_the_same_directory(tmp_path):
    for name in ("first", "second"):
        context_dataset.write_context_dataset(tmp_path / name, {"trainval": 3, "test": 2}, seed=5)
    files = sorted(path.relative_to(tmp_path / "first") for path in (tmp_path / "first").rglob("*"))
    for path in files:
        if (tmp_path / "first" / path).is_file():
            first, second = ((tmp_path / name / path).read_bytes() for name in ("first", "second"))
            assert first == second, path
    sets = tmp_path / "first" / "ImageSets" / "Main"
    assert (sets / "test.txt").read_text().split() == ["context_00003", "context_00004"]


def test_annotations_hold_the_drawn_boxes(tmp_path):
    context_dataset.write_context_dataset(tmp_path, {"trainval": 1}, seed=7)
    _, objects = context_dataset.draw_context_image(0, 7)
    root = ElementTree.parse(tmp_path / "Annotations" / "context_00000.xml").getroot()
    written = [
        (
            node.findtext("name"),
            tuple(int(node.findtext(f"bndbox/{key}")) for key in ("xmin", "ymin", "xmax", "ymax")),
        )
        for node in root.iter("object")
    ]
    assert written == objects
    with Image.open(tmp_path / "JPEGImages" / root.findtext("filename")) as image:
        assert image.size == (384, 384)
