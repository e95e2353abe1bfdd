"""Small record files of real images for tests."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from object_detection_mtl.data.example_format import build_example
from tests.dataset_tools.voc_files import block_image, encoded


def example(
    name: str = "a.jpg",
    boxes=((0.1, 0.2, 0.5, 0.6),),
    classes=(1,),
    texts=None,
    size: tuple[int, int] = (20, 16),
    data: bytes | None = None,
    **optional,
) -> tf.train.Example:
    """The record of one image; `size` is width, height."""
    return build_example(
        encoded=encoded(block_image(*size), "PNG") if data is None else data,
        image_format="png",
        height=size[1],
        width=size[0],
        filename=name,
        source_id=name,
        boxes=boxes,
        class_texts=["cat"] * len(boxes) if texts is None else texts,
        class_labels=classes,
        **optional,
    )


def without(record: tf.train.Example, *keys: str) -> tf.train.Example:
    """The record without some of its features."""
    for key in keys:
        del record.features.feature[key]
    return record


def with_floats(record: tf.train.Example, key: str, values) -> tf.train.Example:
    record.features.feature[key].float_list.Clear()
    record.features.feature[key].float_list.value.extend(values)
    return record


def write(path: Path, *items: tf.train.Example | bytes) -> Path:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for item in items:
            writer.write(item if isinstance(item, bytes) else item.SerializeToString())
    return path


def numbered(path: Path, count: int, start: int = 0) -> Path:
    """A file of `count` images named by their numbers."""
    return write(path, *[example(str(number)) for number in range(start, start + count)])
