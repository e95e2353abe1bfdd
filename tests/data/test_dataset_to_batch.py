"""Images of every format from a VOC directory through records to a batch."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from object_detection_mtl.data import image_resizing, input_pipeline
from object_detection_mtl.dataset_tools import record_conversion, voc_conversion
from object_detection_mtl.fields import Batch, Groundtruth
from tests.dataset_tools.voc_files import (
    annotation,
    block_image,
    encoded,
    make_voc_directory,
    thing,
)


def resized(image):
    return image_resizing.keep_aspect_ratio(
        image, min_dimension=30, max_dimension=60, half_pixel_centers=False
    )


def batch_of(tmp_path, images):
    """One batch of all images, each with a box over its left half; name -> (width, height)."""
    texts = {}
    for name, (_, (width, height)) in images.items():
        box = thing("cat", 0, 0, height, width / 2)
        texts[name] = annotation(f"{name}.jpg", box, (width, height))
    files = {f"{name}.jpg": data for name, (data, _) in images.items()}
    directory = make_voc_directory(tmp_path / "voc", texts, files)
    located = voc_conversion.locate_annotations([directory])
    annotated = voc_conversion.to_annotated_images(located, {"cat": 1})
    summary = record_conversion.create_records(annotated, tmp_path / "a.record")
    assert summary.images == len(images)
    [batch] = input_pipeline.make_dataset(
        str(tmp_path / "a.record"),
        preprocess_fn=resized,
        batch_size=len(images),
        is_training=False,
        num_classes=1,
    )
    boxes = batch[Groundtruth.boxes].numpy()
    np.testing.assert_array_equal(boxes, np.tile([[[0, 0, 1, 0.5]]], (len(images), 1, 1)))
    return {
        name.decode().removesuffix(".jpg"): (batch[Batch.inputs][row].numpy(), shape)
        for row, (name, shape) in enumerate(
            zip(batch[Batch.image_id].numpy(), batch[Batch.true_image_shapes].numpy(), strict=True)
        )
    }


def test_every_kind_of_image_arrives(tmp_path):
    size = (40, 30)
    sixteen = Image.fromarray(np.full((30, 40), 200 * 256, np.uint16))
    images = {
        "rgb": (encoded(block_image(*size), quality=95, subsampling=0), size),
        "gray": (encoded(block_image(*size, "L")), size),
        "cmyk": (encoded(block_image(*size, "CMYK"), quality=95), size),
        "sixteen": (encoded(sixteen, "PNG"), size),
        "palette": (encoded(block_image(*size, "P"), "PNG"), size),
        "tiff": (encoded(block_image(*size), "TIFF"), size),
        "one_pixel": (encoded(Image.new("RGB", (1, 1), (9, 90, 200)), "PNG"), (1, 1)),
    }
    arrived = batch_of(tmp_path, images)
    original = np.asarray(block_image(*size), np.float32)
    for name in ("rgb", "cmyk", "tiff"):
        image, shape = arrived[name]
        assert shape.tolist() == [30, 40, 3]
        assert np.abs(image[:30, :40] - original).mean() < 4, name
    gray = arrived["gray"][0]
    assert (gray == gray[..., :1]).all()
    np.testing.assert_array_equal(arrived["sixteen"][0][:30, :40], 200.0)
    image, shape = arrived["one_pixel"]
    assert shape.tolist() == [30, 30, 3]
    np.testing.assert_array_equal(image[:30, :30], np.tile([9.0, 90.0, 200.0], (30, 30, 1)))
    assert (image[:, 30:] == 0).all()


@pytest.mark.slow
def test_a_very_large_image_arrives(tmp_path):
    data = encoded(Image.new("RGB", (12000, 9000), (10, 200, 30)))
    image, shape = batch_of(tmp_path, {"large": (data, (12000, 9000))})["large"]
    assert shape.tolist() == [30, 40, 3]
    assert np.abs(image - [10, 200, 30]).max() < 4
    assert image.dtype == tf.float32.as_numpy_dtype
