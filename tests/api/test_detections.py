"""Detections: rows, units and forms for other packages."""

import sys
import types

import numpy as np
import pytest
from PIL import Image

import object_detection_mtl as odm


@pytest.fixture
def found():
    """Three detections in an image of 100 x 200 pixels."""
    return odm.Detections(
        boxes=[[10, 20, 50, 80], [0, 0, 100, 200], [5, 5, 6, 7]],
        scores=[0.9, 0.6, 0.25],
        class_ids=[2, 1, 2],
        class_names=["dog", "cat", "dog"],
        image_size=(100, 200),
    )


def test_boxes_have_three_forms(found):
    np.testing.assert_allclose(found.boxes[0], [10, 20, 50, 80])
    np.testing.assert_allclose(found.boxes_normalized[0], [0.1, 0.1, 0.5, 0.4])
    np.testing.assert_allclose(found.boxes_xyxy[0], [20, 10, 80, 50])


def test_rows_are_selected_by_mask_slice_and_number(found):
    assert [item.class_names[0] for item in found] == ["dog", "cat", "dog"]
    assert len(found[:2]) == len(found[found.scores > 0.5]) == 2
    assert found[1].class_names == ("cat",)
    assert list(found.with_min_score(0.6).class_ids) == [2, 1]
    assert len(found[[]]) == 0
    assert found[[]].boxes.shape == (0, 4)


def test_coco_results_have_x_y_width_height(found):
    rows = found.to_coco(image_id=7)
    expected = {"image_id": 7, "category_id": 2, "bbox": [20.0, 10.0, 60.0, 40.0]}
    assert rows[0] == {**expected, "score": pytest.approx(0.9)}
    assert len(rows) == 3


def test_torchvision_and_pandas_forms(found):
    values = found.to_torchvision()
    assert set(values) == {"boxes", "labels", "scores"}
    np.testing.assert_allclose(values["boxes"], found.boxes_xyxy)
    frame = found.to_pandas()
    assert list(frame.columns) == [
        "ymin", "xmin", "ymax", "xmax", "score", "class_id", "class_name",
    ]  # fmt: skip
    assert frame.xmax[0] == 80
    assert list(frame.class_name) == ["dog", "cat", "dog"]


def test_the_supervision_form_has_the_names(found, monkeypatch):
    package = types.SimpleNamespace(Detections=lambda **values: values)
    monkeypatch.setitem(sys.modules, "supervision", package)
    values = found.to_supervision()
    np.testing.assert_allclose(values["xyxy"], found.boxes_xyxy)
    assert list(values["class_id"]) == [2, 1, 2]
    assert list(values["data"]["class_name"]) == ["dog", "cat", "dog"]


def test_supervision_accepts_the_form(found):
    pytest.importorskip("supervision")
    converted = found.to_supervision()
    assert len(converted) == 3
    assert list(converted[converted.confidence > 0.5].data["class_name"]) == ["dog", "cat"]


def test_a_missing_package_is_named_with_its_extra(found, monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ValueError, match=r"pip install 'object_detection_mtl\[supervision\]'"):
        found.to_supervision()


def test_boxes_are_drawn_on_the_given_image(found):
    blank = np.zeros((100, 200, 3), np.uint8)
    drawn = found.draw(blank)
    assert isinstance(drawn, Image.Image)
    # A small image is enlarged by an integer factor.
    assert drawn.width % 200 == 0
    assert np.asarray(drawn).any()
    assert not np.asarray(found.draw(blank, min_score=0.95)).any()
    with pytest.raises(ValueError, match="no image to draw on"):
        found.draw()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"scores": [0.5]}, "scores has 1 elements for 3 boxes"),
        ({"class_names": ["dog"]}, "class_names has 1 elements"),
        ({"image_size": (0, 5)}, "image_size is"),
    ],
)
def test_values_that_do_not_fit_are_an_error(found, changed, message):
    values = {
        name: getattr(found, name)
        for name in ("boxes", "scores", "class_ids", "class_names", "image_size")
    }
    with pytest.raises(ValueError, match=message):
        odm.Detections(**{**values, **changed})


def test_the_text_names_the_best(found):
    assert repr(found) == "Detections(3 in 100x200: dog 0.90, cat 0.60, dog 0.25)"
    assert repr(found[:0]) == "Detections(0 in 100x200)"
