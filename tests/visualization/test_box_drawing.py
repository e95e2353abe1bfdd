import numpy as np
import pytest
from PIL import Image

from object_detection_mtl import visualization
from object_detection_mtl.visualization import (
    box_drawing,
    class_color,
    draw_boxes,
    drawing,
    save_image,
    side_by_side,
)

GREY = 90
NAMES = {1: "cat", 2: "dog"}
BOX = [[0.25, 0.25, 0.75, 0.75]]


def canvas(height=400, width=400):
    return np.full((height, width, 3), GREY, np.uint8)


def touched(image):
    """Return the mask [H, W] of changed pixels."""
    return (image != GREY).any(-1)


def has_color(image, color):
    return (image == color).all(-1)


def test_the_frame_is_at_the_box():
    image = draw_boxes(canvas(), BOX, [1], show_labels=False)
    rows, columns = np.nonzero(has_color(image, class_color(1)))
    # .25 and .75 of 399 pixels.
    assert (rows.min(), rows.max()) == (columns.min(), columns.max()) == (100, 299)
    assert not touched(image)[110:290, 110:290].any()
    assert not touched(image)[:98].any()
    assert not touched(image)[302:].any()


def test_a_label_lies_on_the_box_in_its_color():
    without = draw_boxes(canvas(), BOX, [1], [0.9], names=NAMES, show_labels=False)
    labeled = draw_boxes(canvas(), BOX, [1], [0.9], names=NAMES)
    rows, columns = np.nonzero((without != labeled).any(-1))
    assert rows.max() < 102
    assert rows.min() > 75
    assert columns.min() >= 98
    bare_name = draw_boxes(canvas(), BOX, [1], [0.9], names=NAMES, show_scores=False)
    assert np.nonzero((without != bare_name).any(-1))[1].max() < columns.max()


def test_labels_stay_inside_the_image():
    boxes = [[0, 0, 0.1, 0.1], [0, 0.95, 0.1, 1], [0.95, 0.95, 1, 1]]
    image = draw_boxes(canvas(), boxes, [1, 1, 2], [0.9, 0.8, 0.7], names=NAMES)
    assert image.shape == (400, 400, 3)
    # Each label is a filled patch: in every corner more pixels than the frame alone has.
    bare = draw_boxes(canvas(), boxes, [1, 1, 2], [0.9, 0.8, 0.7], show_labels=False)
    for rows, columns in [(slice(0, 80),) * 2, (slice(0, 80), slice(300, 400))]:
        more = touched(image)[rows, columns].sum() - touched(bare)[rows, columns].sum()
        assert more > 300


def test_labels_of_equal_boxes_avoid_each_other():
    box, size = (100, 100, 300, 300), (60, 16)
    first = box_drawing.place_label(box, size, (400, 400), [])
    assert first == (100, 84, 160, 100)
    second = box_drawing.place_label(box, size, (400, 400), [first])
    assert second == (100, 100, 160, 116)
    # On the image both are there; the frame of class 2 lies hidden below that of class 1.
    image = draw_boxes(canvas(), BOX * 2, [1, 2], [0.9, 0.8], names=NAMES)
    label = draw_boxes(canvas(), BOX, [2], [0.8], names=NAMES)
    frame = draw_boxes(canvas(), BOX, [2], show_labels=False)
    patch = has_color(label, class_color(2)).sum() - has_color(frame, class_color(2)).sum()
    assert has_color(image, class_color(2)).sum() >= patch > 300


def test_min_score_and_max_boxes_keep_the_best():
    boxes = [[0.1, 0.1, 0.3, 0.3], [0.4, 0.4, 0.6, 0.6], [0.7, 0.7, 0.9, 0.9]]
    scores = [0.3, 0.9, 0.6]

    def drawn(**kwargs):
        image = draw_boxes(canvas(), boxes, [1, 1, 1], scores, show_labels=False, **kwargs)
        places = [(40, 80), (160, 200), (280, 320)]
        return [bool(touched(image)[row, column]) for row, column in places]

    assert drawn() == [True, True, True]
    assert drawn(min_score=0.5) == [False, True, True]
    assert drawn(min_score=0.6) == [False, True, True]
    assert drawn(max_boxes=1) == [False, True, False]
    assert drawn(max_boxes=0) == [False, False, False]


@pytest.mark.parametrize("scores", [(0.9, 0.8), (0.8, 0.9)])
def test_the_better_frame_lies_on_top(scores):
    crossing = [[0.25, 0.1, 0.75, 0.9], [0.1, 0.25, 0.9, 0.75]]
    image = draw_boxes(canvas(), crossing, [1, 2], scores, show_labels=False)
    best = 1 + int(np.argmax(scores))
    assert tuple(image[100, 100]) == class_color(best)


def test_without_scores_every_box_is_drawn_in_order():
    image = draw_boxes(canvas(), BOX + [[0, 0, 0.1, 0.1]], [1, 2], min_score=0.9, max_boxes=1)
    assert touched(image)[100, 200]
    assert not touched(image)[40, 20]


def test_the_input_image_is_not_changed():
    array, image = canvas(), Image.fromarray(canvas())
    draw_boxes(array, BOX, [1])
    draw_boxes(image, BOX, [1])
    assert not touched(array).any()
    assert not touched(np.asarray(image)).any()


def test_boxes_are_clipped_to_the_image_and_inverted_ones_skipped():
    image = draw_boxes(canvas(), [[-1, -1, 2, 2]], [1], show_labels=False)
    assert has_color(image, class_color(1))[0, 200]
    inverted = draw_boxes(canvas(), [[0.7, 0.7, 0.2, 0.2]], [1])
    assert not touched(inverted).any()


def test_no_boxes():
    assert not touched(draw_boxes(canvas(), [], [], [])).any()
    assert not touched(draw_boxes(canvas(), np.zeros((0, 4)))).any()


@pytest.mark.parametrize(
    "image",
    [
        np.full((400, 300), GREY, np.uint8),
        np.full((400, 300, 1), GREY, np.uint8),
        Image.new("L", (300, 400), GREY),
        Image.new("CMYK", (300, 400)),
        Image.new("RGBA", (300, 400)),
        Image.new("P", (300, 400)),
    ],
)
def test_images_of_any_mode_become_rgb(image):
    image = draw_boxes(image, BOX, [1], show_labels=False)
    assert image.shape == (400, 300, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), "expected dtype uint8.*float32"),
        (np.zeros((4, 4, 4), np.uint8), r"got \[4, 4, 4\]"),
        (np.zeros((0, 4, 3), np.uint8), r"got \[0, 4, 3\]"),
    ],
)
def test_invalid_images(image, message):
    with pytest.raises(ValueError, match=message):
        draw_boxes(image, BOX, [1])


@pytest.mark.parametrize(("classes", "scores"), [([1, 2], None), ([1], [0.1, 0.2])])
def test_arrays_of_different_lengths(classes, scores):
    with pytest.raises(ValueError, match="expected 1, one per box, got 2"):
        draw_boxes(canvas(), BOX, classes, scores)


@pytest.mark.parametrize("size", [(1, 1), (7, 3), (48, 64), (100, 900), (2400, 3200)])
def test_labels_are_legible_and_small_at_any_size(size):
    """The font has at least 12 pixels, and one label covers a small part of the image."""
    image = draw_boxes(canvas(*size), [[0, 0, 1, 1]], [1], [0.5], names=NAMES)
    assert max(image.shape) >= visualization.SMALLEST_LONGER_SIDE
    assert image.shape[0] * size[1] == image.shape[1] * size[0]
    bare = draw_boxes(canvas(*size), [[0, 0, 1, 1]], [1], show_labels=False)
    rows = np.nonzero((image != bare).any(-1).any(1))[0]
    height = rows.max() - rows.min() + 1
    assert 12 <= height <= max(24, image.shape[0] / 20)
    assert (image != bare).any(-1).mean() < 0.25


def test_small_images_may_keep_their_size():
    assert draw_boxes(canvas(20, 30), BOX, [1], longer_side=0).shape == (20, 30, 3)


def test_a_name_longer_than_the_image_is_shortened_in_the_middle():
    text = "an extraordinarily long name of a class which nobody can read " * 3
    image = draw_boxes(canvas(), BOX, [1], [0.5], names={1: text})
    filled = has_color(image, class_color(1)).sum(1)
    assert filled.max() <= 400
    image = visualization.to_rgb_image(canvas())
    draw = drawing.ImageDraw.Draw(image)
    font = drawing.font(image)
    short = drawing.shortened(draw, f"{text} 0.50", font, 200)
    assert short.startswith("an ex")
    assert short.endswith("0.50")
    assert ".." in short
    assert draw.textlength(short, font=font) <= 200


def test_colors_of_classes_differ_clearly():
    colors = np.array([class_color(i) for i in range(1, 25)])
    lab = drawing.to_lab(colors / 255)
    distances = np.linalg.norm(lab[:, np.newaxis] - lab, axis=-1)
    # 2.3 is a just noticeable difference.
    assert distances[~np.eye(len(lab), dtype=bool)].min() > 15
    assert lab[:, 0].min() > 45
    assert class_color(3) == class_color(3) == class_color(3 + 64)


def test_the_conversion_to_lab_of_white_and_red():
    lab = drawing.to_lab(np.array([[1.0, 1, 1], [1, 0, 0], [0, 0, 0]]))
    np.testing.assert_allclose(lab, [[100, 0, 0], [53.2, 80.1, 67.2], [0, 0, 0]], atol=0.2)


def test_one_color_for_all():
    image = draw_boxes(canvas(), BOX, [1], color=(1, 2, 3), show_labels=False)
    assert has_color(image, (1, 2, 3)).any()
    assert not has_color(image, class_color(1)).any()


def test_side_by_side():
    left, right = np.full((30, 40, 3), 10, np.uint8), np.full((50, 20, 3), 200, np.uint8)
    image = side_by_side([left, right])
    assert image.shape[0] == 50
    assert 60 < image.shape[1] < 70
    assert (image[:30, :40] == 10).all()
    assert (image[:, -20:] == 200).all()
    titled = side_by_side([left, right], titles=["a", "b"])
    bar = titled.shape[0] - 50
    assert bar > 0
    assert titled.shape[1] == image.shape[1]
    np.testing.assert_array_equal(titled[bar:], image)
    assert (titled[:bar] == 255).all(-1).any()


def test_side_by_side_needs_images_and_a_title_for_each():
    with pytest.raises(ValueError, match="at least one"):
        side_by_side([])
    with pytest.raises(ValueError, match="titles: expected 2, one per image, got 1"):
        side_by_side([canvas()] * 2, titles=["a"])


@pytest.mark.parametrize("name", ["deep/down/a.png", "a.jpg", "a.JPEG"])
def test_save(tmp_path, name):
    save_image(canvas(), tmp_path / name)
    with Image.open(tmp_path / name) as image:
        np.testing.assert_allclose(np.asarray(image), canvas(), atol=2)


def test_save_needs_an_image_format(tmp_path):
    with pytest.raises(ValueError, match="'.txt' is not the extension of an image format"):
        save_image(canvas(), tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())
