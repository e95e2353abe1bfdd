"""Small datasets and detections on disk, the same in every format."""

import io
import json

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 40, 60
NAMES = ("cat", "dog")
# Image -> objects (class, box [xmin, ymin, xmax, ymax], difficult).
OBJECTS = {
    "a": [("cat", (2, 4, 22, 24), False), ("dog", (30, 10, 50, 30), True)],
    "b": [("dog", (0, 0, 40, 30), False)],
    "c": [],
}
# Image -> detections (class, score, box).
DETECTED = {
    "a": [("cat", 0.9, (2, 4, 22, 24)), ("dog", 0.25, (30, 10, 50, 20))],
    "b": [("dog", 0.75, (0, 0, 40, 38))],
    "c": [],
}


def encoded_image(seed=0, kind="JPEG"):
    rng = np.random.default_rng(seed)
    pixels = np.kron(rng.integers(0, 256, (4, 6, 3)), np.ones((10, 10, 1))).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_images(directory):
    directory.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(OBJECTS):
        (directory / f"{name}.jpg").write_bytes(encoded_image(number))


def write_voc(directory):
    """Write a PASCAL VOC directory."""
    write_images(directory / "JPEGImages")
    annotations = directory / "Annotations"
    annotations.mkdir()
    for name, objects in OBJECTS.items():
        items = "".join(
            f"<object><name>{label}</name><difficult>{int(difficult)}</difficult><bndbox>"
            f"<xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax>"
            "</bndbox></object>"
            for label, box, difficult in objects
        )
        (annotations / f"{name}.xml").write_text(
            f"<annotation><filename>{name}.jpg</filename><size><width>{WIDTH}</width>"
            f"<height>{HEIGHT}</height></size>{items}</annotation>"
        )
    return directory


def write_coco(path):
    """Write a COCO instances file; difficult objects are crowds."""
    images, annotations = [], []
    for number, (name, objects) in enumerate(OBJECTS.items(), start=11):
        images.append({"id": number, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH})
        for label, (xmin, ymin, xmax, ymax), difficult in objects:
            annotations.append(
                {
                    "image_id": number,
                    "category_id": NAMES.index(label) + 1,
                    "bbox": [xmin, ymin, xmax - xmin, ymax - ymin],
                    "iscrowd": int(difficult),
                }
            )
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(content))
    return path


def coco_results(detected=None):
    """Return a list of COCO results; images are named by `file_name` alone."""
    return [
        {
            "image_id": number,
            "file_name": f"{name}.jpg",
            "category_id": NAMES.index(label) + 1,
            "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
            "score": score,
        }
        for number, (name, rows) in enumerate((detected or DETECTED).items(), start=1)
        for label, score, box in rows
    ]


def write_voc_texts(directory):
    """Write a text file for each class."""
    directory.mkdir()
    for label in NAMES:
        lines = [
            f"{name} {score} {' '.join(map(str, box))}"
            for name, rows in DETECTED.items()
            for found, score, box in rows
            if found == label
        ]
        (directory / f"comp4_det_val_{label}.txt").write_text("\n".join(lines) + "\n")
    return directory


def write_records(path, change=None):
    """Write records with images, objects and detections; `change` edits the first example."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, name in enumerate(OBJECTS):
            example = _example(tf, number, name)
            if change and number == 0:
                change(example.features.feature)
            writer.write(example.SerializeToString())
    return path


def _example(tf, number, name):
    example = tf.train.Example()
    features = example.features.feature
    features["image/height"].int64_list.value.append(HEIGHT)
    features["image/width"].int64_list.value.append(WIDTH)
    features["image/encoded"].bytes_list.value.append(encoded_image(number))
    features["image/source_id"].bytes_list.value.append(f"{name}.jpg".encode())
    for position, (side, length) in enumerate(
        (("xmin", WIDTH), ("ymin", HEIGHT), ("xmax", WIDTH), ("ymax", HEIGHT))
    ):
        features[f"image/object/bbox/{side}"].float_list.value.extend(
            box[position] / length for _, box, _ in OBJECTS[name]
        )
        features[f"image/detection/bbox/{side}"].float_list.value.extend(
            box[position] / length for _, _, box in DETECTED[name]
        )
    for label, _, difficult in OBJECTS[name]:
        features["image/object/class/text"].bytes_list.value.append(label.encode())
        features["image/object/class/label"].int64_list.value.append(NAMES.index(label) + 1)
        features["image/object/difficult"].int64_list.value.append(int(difficult))
    for label, score, _ in DETECTED[name]:
        features["image/detection/label"].int64_list.value.append(NAMES.index(label) + 1)
        features["image/detection/score"].float_list.value.append(score)
    return example
