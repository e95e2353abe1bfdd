"""Examples given in memory, checked and encoded as records.

Shape letters: N objects of an image, H W the image, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from object_detection_mtl.api import image_inputs
from object_detection_mtl.data import image_files

IMAGE, BOXES, LABELS = REQUIRED = ("image", "boxes", "labels")
IMAGE_ID, DIFFICULT, IS_CROWD = OPTIONAL = ("image_id", "difficult", "is_crowd")
# A box may cross the edge of its image by so many pixels, or this fraction of the side, for
# rounding; it is clipped.
_TOLERANCE_PIXELS, _TOLERANCE = 2.0, 0.02


class ExampleError(ValueError):
    """An example of a dataset is unusable; the message has its number and what was expected."""


def serialized_examples(
    examples: Iterable[Mapping[str, Any]], num_classes: int, class_names: Mapping[int, str]
) -> Iterator[bytes]:
    """Yield the records of examples.

    Args:
        examples: dictionaries with `image` [H, W, 3] uint8, `boxes` [N, 4] (ymin, xmin, ymax,
            xmax in pixels), `labels` [N] (1 to K), and optionally `image_id` (a text or number),
            `difficult` and `is_crowd` [N]; values are arrays, tensors or lists.
        num_classes: K.
        class_names: class number -> name; empty if the classes have no names.

    Raises:
        ExampleError: an example is unusable.
    """
    from object_detection_mtl.data import example_format

    for number, example in enumerate(examples):
        values = check_example(example, num_classes, class_names, f"example {number}")
        height, width = values[IMAGE].shape[:2]
        boxes = np.clip(values[BOXES] / [height, width, height, width], 0.0, 1.0)
        identifier = values.get(IMAGE_ID, str(number))
        record = example_format.build_example(
            encoded=image_files.encode_png(values[IMAGE]),
            image_format="png",
            height=height,
            width=width,
            filename=identifier,
            source_id=identifier,
            boxes=boxes,
            class_texts=[class_names.get(label, f"class {label}") for label in values[LABELS]],
            class_labels=values[LABELS],
            **{key: values[key] for key in (DIFFICULT, IS_CROWD) if key in values},
        )
        yield record.SerializeToString(deterministic=True)


def check_example(
    example: Any, num_classes: int, class_names: Mapping[int, str], name: str
) -> dict[str, Any]:
    """Return the values of an example: image and boxes as arrays, lists, image_id as text.

    Args:
        example: see `serialized_examples`.
        num_classes: K.
        class_names: see `serialized_examples`.
        name: name of the example in messages.

    Raises:
        ExampleError: the example is unusable.
    """
    if not isinstance(example, Mapping):
        raise ExampleError(
            f"{name} has the type {type(example).__name__}; expected a dictionary with "
            f"{', '.join(REQUIRED)}"
        )
    missing = [key for key in REQUIRED if key not in example]
    unknown = [key for key in example if key not in REQUIRED + OPTIONAL]
    if missing or unknown:
        wrong = f"lacks {missing}" if missing else f"has the unknown keys {unknown}"
        raise ExampleError(
            f"{name} {wrong}; expected {', '.join(REQUIRED)}, and optionally {', '.join(OPTIONAL)}"
        )
    image = np.asarray(example[IMAGE])
    if image.ndim == 4:
        raise ExampleError(
            f"{name}: image has the shape {list(image.shape)}, a batch; give single examples, of a "
            "tf.data.Dataset by unbatch()"
        )
    try:
        image_inputs.check_pixels(image, f"{name}: image")
    except ValueError as error:
        raise ExampleError(str(error)) from None
    boxes = _check_boxes(np.asarray(example[BOXES]), image.shape[:2], name)
    labels = _check_labels(np.asarray(example[LABELS]), num_classes, class_names, name)
    values: dict[str, Any] = {IMAGE: image, BOXES: boxes, LABELS: labels}
    for key in (DIFFICULT, IS_CROWD):
        if key in example:
            values[key] = np.asarray(example[key]).reshape(-1).astype(bool).tolist()
    for key in values.keys() - {IMAGE, BOXES}:
        if len(values[key]) != len(boxes):
            raise ExampleError(
                f"{name}: {key} has {len(values[key])} elements for {len(boxes)} boxes; give one "
                "for each box"
            )
    if IMAGE_ID in example:
        values[IMAGE_ID] = _to_text(example[IMAGE_ID])
    return values


def _check_boxes(boxes: np.ndarray, size: tuple[int, ...], name: str) -> np.ndarray:
    """Return boxes [N, 4] float64 in pixels, of positive area."""
    height, width = size
    if boxes.size == 0:
        return np.zeros((0, 4))
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.issubdtype(boxes.dtype, np.number):
        raise ExampleError(
            f"{name}: boxes have the shape {list(boxes.shape)} and the dtype {boxes.dtype}; "
            "expected numbers [N, 4]: ymin, xmin, ymax, xmax in pixels"
        )
    boxes = boxes.astype(np.float64)
    expected = "expected ymin, xmin, ymax, xmax in pixels"
    if not np.all(np.isfinite(boxes)):
        raise ExampleError(f"{name}: boxes are not finite: {boxes.tolist()}; {expected}")
    if boxes.max() <= 1.0 and min(size) > 2:
        raise ExampleError(
            f"{name}: all coordinates of the boxes are at most 1 ({boxes[0].tolist()}), so they "
            f"seem to be fractions of the image; {expected}: multiply them by {height} and {width}"
        )
    for box in boxes:
        if not (box[2] > box[0] and box[3] > box[1]):
            raise ExampleError(
                f"{name}: box {box.tolist()} has no positive area; {expected}, with ymax > ymin "
                "and xmax > xmin (not x, y, width, height)"
            )
        if not _is_inside(box, height, width):
            hint = ""
            if _is_inside(box[[1, 0, 3, 2]], height, width):
                hint = "; it fits if x and y are swapped"
            raise ExampleError(
                f"{name}: box {box.tolist()} exceeds the image of height {height} and width "
                f"{width}; {expected}{hint}"
            )
    return boxes


def _is_inside(box: np.ndarray, height: int, width: int) -> bool:
    sides = np.array([height, width], np.float64)
    slack = np.maximum(_TOLERANCE_PIXELS, _TOLERANCE * sides)
    begins = bool(np.all(box[:2] >= -slack) and np.all(box[:2] < sides))
    return begins and bool(np.all(box[2:] <= sides + slack) and np.all(box[2:] > 0))


def _check_labels(
    labels: np.ndarray, num_classes: int, class_names: Mapping[int, str], name: str
) -> list[int]:
    """Return the labels, 1 to K."""
    if labels.size == 0:
        return []
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise ExampleError(
            f"{name}: labels have the shape {list(labels.shape)} and the dtype {labels.dtype}; "
            f"expected class numbers [N], integers from 1 to {num_classes}"
        )
    for label in labels.tolist():
        if not 1 <= label <= num_classes:
            hint = "; classes are numbered from 1 (0 is background): add 1" if label == 0 else ""
            raise ExampleError(
                f"{name}: label {label} is out of range; the detector has the classes 1 to "
                f"{num_classes}{hint}"
            )
        if class_names and label not in class_names:
            raise ExampleError(
                f"{name}: label {label} has no name; class_names has {dict(class_names)}"
            )
    return labels.tolist()


def _to_text(value: Any) -> str:
    value = value.numpy() if hasattr(value, "numpy") else value
    value = value.item() if isinstance(value, np.ndarray | np.generic) else value
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
