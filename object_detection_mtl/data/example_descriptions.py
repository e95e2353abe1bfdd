"""Descriptions of corrupt examples and dropped objects, by reading the record again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from object_detection_mtl.data import example_decoder, example_issues, graph_errors, record_files
from object_detection_mtl.data.example_decoder import CLIPPED_BEYOND, LabelMapItem
from object_detection_mtl.data.example_format import BOX_KEYS, feature_values
from object_detection_mtl.fields import TfExample

MAX_TEXT = 80  # characters of a text from a record in a message


class ObjectDescriber:
    """Messages about dropped and clipped objects of records; each class text is named once."""

    def __init__(self, label_map: Iterable[LabelMapItem] | None, max_boxes: int | None) -> None:
        """Prepare.

        Args:
            label_map: the classes, or None.
            max_boxes: number of boxes above which boxes are surplus, or None.
        """
        self._names = {
            name for item in label_map or () for name in (item.name, item.display_name) if name
        }
        self._max_boxes = max_boxes
        self._unknown: set[str] = set()
        self._told_surplus = False

    def describe(self, kind: int, example: tf.train.Example, place: str) -> str:
        """Return a message about a record; "" if there is nothing new to say.

        Args:
            kind: column of `Batch.issues`, not SKIPPED.
            example: the record.
            place: file and position of the record.
        """
        name = _name(example, place)
        if kind == example_issues.UNKNOWN_CLASS:
            return self._unknown_classes(example, name)
        if kind == example_issues.INVALID_BOX:
            return self._invalid_boxes(example, name)
        if kind == example_issues.CLIPPED_BOX:
            return self._clipped_boxes(example, name)
        return self._surplus(example, name)

    def _unknown_classes(self, example: tf.train.Example, name: str) -> str:
        texts = [_text(value) for value in feature_values(example, TfExample.class_text)]
        new = [text for text in dict.fromkeys(texts) if text not in self._names | self._unknown]
        if not new:
            return ""
        self._unknown |= set(new)
        listed = ", ".join(repr(text[:MAX_TEXT]) for text in new[:8])
        more = f" and {len(new) - 8} more" if len(new) > 8 else ""
        noun = "class" if len(new) == 1 else "classes"
        return (
            f"The label map has no {noun} {listed}{more} (first found in image {name}). Objects of "
            f"{'this class' if len(new) == 1 else 'these classes'} are dropped."
        )

    def _invalid_boxes(self, example: tf.train.Example, name: str) -> str:
        boxes = _boxes(example)
        for number in np.flatnonzero(~example_decoder.is_usable(boxes)).tolist():
            return (
                f"Image {name}: {_shown(boxes, number)} has no area inside the image; "
                "boxes in records are fractions of the image, 0 to 1. Such boxes are dropped."
            )
        return ""

    def _clipped_boxes(self, example: tf.train.Example, name: str) -> str:
        boxes = _boxes(example)
        outside = (boxes < -CLIPPED_BEYOND) | (boxes > 1.0 + CLIPPED_BEYOND)
        for number in np.flatnonzero(
            outside.any(axis=1) & example_decoder.is_usable(boxes)
        ).tolist():
            return (
                f"Image {name}: {_shown(boxes, number)} reaches outside the image, 0 to 1. Such "
                "boxes are clipped."
            )
        return ""

    def _surplus(self, example: tf.train.Example, name: str) -> str:
        if self._told_surplus:
            return ""
        self._told_surplus = True
        number = len(feature_values(example, BOX_KEYS[0]))
        return (
            f"Image {name} has {number} boxes, max_number_of_boxes is {self._max_boxes}: the "
            "surplus boxes of this and other images are not trained on. Raise max_number_of_boxes "
            "to keep them."
        )


class ExampleDescriber:
    """Messages about the examples of one input pipeline."""

    def __init__(
        self,
        index: record_files.RecordIndex,
        record_of: Callable[[int], int],
        load: Callable[[int, int], None],
        objects: ObjectDescriber,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            index: the records.
            record_of: number of an example -> number of its record.
            load: loads the example of a number and a record; raises an OpError if it is corrupt.
            objects: describes dropped and clipped objects.
        """
        self._index = index
        self._record_of = record_of
        self._load = load
        self._objects = objects

    def describe(self, kind: int, number: int) -> str:
        """Return a message about an example; "" if there is nothing new to say.

        Args:
            kind: column of `Batch.issues`.
            number: number of the example.
        """
        record = self._record_of(number)
        if kind == example_issues.SKIPPED:
            return self._reason(number, record)
        try:
            example = self._read(record)
        except (tf.errors.OpError, ValueError):  # The file changed meanwhile.
            return ""
        return self._objects.describe(kind, example, self._index.place(record))

    def _reason(self, number: int, record: int) -> str:
        try:
            self._load(number, record)
        except tf.errors.OpError as error:
            reason = graph_errors.explain(error)
        else:
            reason = "it can be read now"
        return f"A corrupt example is skipped: {with_place(reason, self._index.place(record))}"

    def _read(self, record: int) -> tf.train.Example:
        path = self._index.files[self._index.file_numbers[record]]
        data = record_files.record_at(
            tf.constant(path), tf.constant(self._index.offsets[record], tf.int64)
        ).get_single_element()
        return tf.train.Example.FromString(data.numpy())


def with_place(reason: str, place: str) -> str:
    """Return a reason with the place of its record, once."""
    return reason if place in reason else f"{place}: {reason}"


def _name(example: tf.train.Example, place: str) -> str:
    for key in (TfExample.source_id, TfExample.filename):
        for value in feature_values(example, key):
            if value:
                return f"{_text(value)[:MAX_TEXT]} ({place})"
    return place


def _boxes(example: tf.train.Example) -> np.ndarray:
    columns = [feature_values(example, key) for key in BOX_KEYS]
    return np.array(list(zip(*columns, strict=False)), np.float32).reshape(-1, 4)


def _shown(boxes: np.ndarray, number: int) -> str:
    values = ", ".join(f"{value:g}" for value in boxes[number])
    return f"box number {number}, ymin, xmin, ymax, xmax = {values},"


def _text(value: bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
