"""Records and videos for tests."""

from __future__ import annotations

import io

import numpy as np
import tensorflow as tf
from PIL import Image

HEADER, FOOTER = 12, 4


def png(height, width, value=100):
    file = io.BytesIO()
    Image.fromarray(np.full((height, width, 3), value, np.uint8)).save(file, "PNG")
    return file.getvalue()


def example(encoded, **texts):
    """Return an example; `texts` are its features without the prefix `image/`."""
    made = tf.train.Example()
    for key, value in {"encoded": encoded, **texts}.items():
        made.features.feature[f"image/{key}"].bytes_list.value.append(value)
    return made


def write_record(path, contents):
    """Write examples, or bytes that are not examples."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for content in contents:
            is_example = isinstance(content, tf.train.Example)
            writer.write(content.SerializeToString() if is_example else content)
    return path


def read_record(path):
    return [
        tf.train.Example.FromString(record)
        for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator()
    ]


def damage(path, number):
    """Change a byte in the data of a record."""
    data = bytearray(path.read_bytes())
    position = 0
    for _ in range(number):
        position += HEADER + int.from_bytes(data[position : position + 8], "little") + FOOTER
    data[position + HEADER + 20] ^= 1
    path.write_bytes(data)


def write_video(path, values, height=96, width=128):
    """Write a frame of noise around each value."""
    random = np.random.RandomState(0)
    import cv2

    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (width, height))
    assert writer.isOpened()
    for value in values:
        noise = random.randint(-9, 10, (height, width, 3))
        writer.write(np.clip(value + noise, 0, 255).astype(np.uint8))
    writer.release()
    return path
