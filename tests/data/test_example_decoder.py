"""Decoder of records: keys and defaults of the OD API, image formats, invalid records."""

import dataclasses
import functools
import io

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from object_detection_mtl.data import example_decoder
from object_detection_mtl.fields import Batch, Groundtruth
from tests.data.record_files import example, with_floats, without
from tests.dataset_tools.voc_files import block_image, encoded


@dataclasses.dataclass
class Item:
    id: int
    name: str
    display_name: str = ""


MAP = [Item(1, "/m/01", "cat"), Item(2, "dog", "House dog"), Item(3, "cat", "")]


@functools.cache
def decoding(with_map=False, num_classes=3, **options):
    """The decoder as the pipeline runs it, in a graph; traced once for all tests."""
    decode_parsed = example_decoder.make_decoder(num_classes, MAP if with_map else None, **options)
    text = tf.TensorSpec([], tf.string)
    return tf.function(
        lambda serialized, name: decode_parsed(example_decoder.parse(serialized), name),
        input_signature=[text, text],
        autograph=False,
    )


def decode(record, name="", **options):
    return decoding(**options)(record.SerializeToString(), name)


def test_a_whole_record():
    result = decode(
        example(
            "x.png",
            boxes=[[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 0.5]],
            classes=[3, 1],
            texts=["cat", "dog"],
            size=(20, 16),
            difficult=[1, 0],
            is_crowd=[0, 1],
            group_of=[1, 1],
            area=[7, 8],
            weight=[0.5, 0],
        )
    )
    np.testing.assert_array_equal(result["image"], np.asarray(block_image(20, 16)))
    assert result["image"].dtype == tf.uint8
    assert result[Batch.image_id] == b"x.png"
    expected = {
        Groundtruth.boxes: [[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 0.5]],
        Groundtruth.classes: [3, 1],
        Groundtruth.difficult: [True, False],
        Groundtruth.is_crowd: [False, True],
        Groundtruth.group_of: [True, True],
        Groundtruth.area: [7, 8],
        Groundtruth.weights: [0.5, 0],
        Groundtruth.image_classes: [],
    }
    for key, value in expected.items():
        np.testing.assert_allclose(result[key].numpy(), value, rtol=1e-6)
    assert result[Groundtruth.classes].dtype == tf.int32
    assert set(result) == {"image", Batch.image_id, Batch.issues, *expected}


def test_classes_that_annotators_looked_for():
    record = example("x.png", boxes=[[0.1, 0.2, 0.5, 0.6]], classes=[3], texts=["cat"])
    record.features.feature["image/class/label"].int64_list.value[:] = [3, 1]
    assert decode(record)[Groundtruth.image_classes].numpy().tolist() == [3, 1]


def test_absent_details_have_the_od_apis_defaults():
    result = decode(example(boxes=[[0.25, 0, 0.75, 0.5]], size=(20, 16)))
    assert result[Groundtruth.weights].numpy().tolist() == [1.0]
    for key in (Groundtruth.difficult, Groundtruth.is_crowd, Groundtruth.group_of):
        assert result[key].numpy().tolist() == [False]
    np.testing.assert_allclose(result[Groundtruth.area], [8 * 10])


def test_no_boxes():
    result = decode(example(boxes=[], classes=[]), with_map=True)
    assert result[Groundtruth.boxes].shape == (0, 4)
    for key in (Groundtruth.classes, Groundtruth.weights, Groundtruth.area):
        assert result[key].shape == (0,)


def test_names_of_an_image_in_order_of_preference():
    record = example("a.jpg")
    assert decode(without(record, "image/source_id"))[Batch.image_id] == b"a.jpg"
    assert decode(without(record, "image/filename"), name="f at 0")[Batch.image_id] == b"f at 0"


# Classes ------------------------------------------------------------------------------------


def classes(texts, labels, with_map=True, **options):
    boxes = [[0, 0, 0.5, 0.5]] * max(len(texts), len(labels))
    record = example(boxes=boxes, texts=["x"] * len(boxes), classes=[1] * len(boxes))
    for key, values in (("text", texts), ("label", labels)):
        del record.features.feature[f"image/object/class/{key}"]
        feature = record.features.feature[f"image/object/class/{key}"]
        if key == "text":
            feature.bytes_list.value.extend(text.encode() for text in texts)
        else:
            feature.int64_list.value.extend(values)
    return decode(record, with_map=with_map, **options)[Groundtruth.classes].numpy().tolist()


def test_a_corrupt_record_of_bytes_that_cannot_be_decoded_is_named():
    data = (
        example("a").SerializeToString().replace(b"image/height", b"\x01mage/height")[:-3] + b"\xff"
    )
    with pytest.raises(ValueError, match="this record is corrupt, .* the place"):
        example_decoder.parse_now(tf.constant(data), "the place")


def test_texts_win_over_numbers_where_a_label_map_is_given():
    assert classes(["dog", "/m/01"], [3, 3]) == [2, 1]
    assert classes(["dog", "/m/01"], [3, 3], with_map=False) == [3, 3]
    assert classes([], [3, 1]) == [3, 1]


def test_texts_are_looked_up_by_name_then_by_display_name():
    assert classes(["cat"], [1]) == [3]
    assert classes(["House dog"], [1]) == [2]
    assert classes(["cat"], [3], prefer_display_name=True) == [1]


def test_objects_of_unknown_text_are_dropped_and_counted():
    assert classes(["cow", "dog", "cow", "hen"], [1, 1, 1, 1]) == [2]
    record = example(boxes=[[0, 0, 1, 1]] * 3, texts=["cow", "dog", "hen"], classes=[1, 1, 1])
    assert decode(record, with_map=True)[Batch.issues].numpy().tolist() == [0, 2, 0, 0, 0]


def test_class_number_minus_one_is_dropped_and_others_out_of_range_are_an_error():
    assert classes([], [-1, 2]) == [2]
    for wrong in (0, 4, -2):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)outside 1\.\.3.*a\.jpg"):
            classes([], [1, wrong])
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"(?s)outside 1\.\.2.*a\.jpg"):
        classes(["cat"], [1], num_classes=2)


# Boxes --------------------------------------------------------------------------------------


def test_boxes_are_clipped_and_objects_without_area_are_dropped():
    nan, inf = float("nan"), float("inf")
    result = decode(
        example(
            boxes=[
                [-0.1, 0.2, 0.5, 1.3],
                [0.5, 0.5, 0.5, 0.9],
                [0.9, 0.1, 0.1, 0.2],
                [0, 1.1, 1, 1.5],
                [nan, 0, 1, 1],
                [0, 0, inf, 1],
                [0, 0, 1, 1],
            ],
            classes=[1, 2, 3, 1, 2, 3, 2],
            weight=[0, 1, 2, 3, 4, 5, 6],
        )
    )
    np.testing.assert_allclose(result[Groundtruth.boxes], [[0, 0.2, 0.5, 1], [0, 0, 1, 1]])
    assert result[Groundtruth.classes].numpy().tolist() == [1, 2]
    assert result[Groundtruth.weights].numpy().tolist() == [0, 6]
    np.testing.assert_allclose(result[Groundtruth.area], [0.5 * 16 * 0.8 * 20, 320], rtol=1e-6)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-2, 2, width=32, allow_subnormal=False)] * 4), max_size=5))
def test_boxes_that_come_out_are_inside_and_have_an_area(boxes):
    record = example(boxes=np.array(boxes).reshape(-1, 4), classes=[1] * len(boxes))
    result = decode(record)[Groundtruth.boxes].numpy()
    assert ((result >= 0) & (result <= 1)).all()
    assert (result[:, 2:] > result[:, :2]).all()
    clipped = np.clip(np.float32(boxes).reshape(-1, 4), 0, 1)
    assert len(result) == (clipped[:, 2:] > clipped[:, :2]).all(axis=1).sum()


@pytest.mark.parametrize(
    "key", ["image/object/bbox/xmax", "image/object/weight", "image/object/area"]
)
def test_lists_of_other_lengths_are_an_error_that_names_key_and_image(key):
    record = with_floats(example("b.jpg"), key, [0.5, 0.6])
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"(?s)differ in length.*b.jpg.*{key}"):
        decode(record)


def test_a_box_without_class_is_an_error():
    record = without(example("b.jpg"), "image/object/class/label", "image/object/class/text")
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)no classes.*b.jpg"):
        decode(record)


# Images -----------------------------------------------------------------------------------


def rgb(data):
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.int64)


@pytest.mark.parametrize(
    ("format_name", "mode"),
    [
        ("JPEG", "RGB"),
        ("JPEG", "L"),
        ("JPEG", "CMYK"),
        ("PNG", "RGB"),
        ("PNG", "L"),
        ("PNG", "LA"),
        ("PNG", "RGBA"),
        ("PNG", "P"),
        ("PNG", "1"),
        ("BMP", "RGB"),
        ("BMP", "L"),
        ("BMP", "P"),
        ("BMP", "RGBA"),
        ("GIF", "P"),
        ("WEBP", "RGB"),
    ],
)
@pytest.mark.parametrize("size", [(1, 1), (20, 16)])
def test_every_kind_of_image_becomes_rgb(format_name, mode, size):
    options = {"subsampling": 0} if format_name == "JPEG" and mode == "RGB" else {}
    data = encoded(block_image(*size, mode), format_name, **options)
    image = decode(example(data=data, size=size))["image"].numpy()
    assert image.shape == (size[1], size[0], 3)
    assert image.dtype == np.uint8
    assert np.abs(image - rgb(data)).max() <= 6


def test_sixteen_bits_keep_their_upper_half():
    pixels = np.array([[0, 255, 256, 65535, 32768]], np.uint16)
    image = decode(example(data=encoded(Image.fromarray(pixels), "PNG")))["image"].numpy()
    np.testing.assert_array_equal(image[0], [[value >> 8] * 3 for value in pixels[0]])


@pytest.mark.parametrize(
    "data", [b"", b"no image", encoded(block_image())[:300], encoded(block_image(), "PNG")[:-20]]
)
def test_an_image_that_cannot_be_decoded_is_an_error_with_its_name(data):
    with pytest.raises(tf.errors.InvalidArgumentError, match="(?s)cannot be decoded.*lost.jpg"):
        decode(example("lost.jpg", data=data))
