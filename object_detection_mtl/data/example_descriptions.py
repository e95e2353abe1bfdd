"""Descriptions of corrupt examples and dropped objects, by reading the record again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import tensorflow as tf

from object_detection_mtl.data import example_issues, graph_errors, record_files
from object_detection_mtl.data.example_decoder import LabelMapItem
from object_detection_mtl.data.example_format import BOX_KEYS
from object_detection_mtl.fields import TfExample

MAX_TEXT = 80  # characters of a text from a record in a message


class ExampleDescriber:
    """Messages about the examples of one input pipeline."""

    def __init__(
        self,
        index: record_files.RecordIndex,
        record_of: Callable[[int], int],
        load: Callable[[int, int], None],
        label_map: Iterable[LabelMapItem] | None,
        max_boxes: int | None,
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            index: the records.
            record_of: number of an example -> number of its record.
            load: loads the example of a number and a record; raises an OpError if it is corrupt.
            label_map: the classes, or None.
            max_boxes: number of boxes above which boxes are surplus, or None.
        """
        self._index = index
        self._record_of = record_of
        self._load = load
        self._names = {
            name for item in label_map or () for name in (item.name, item.display_name) if name
        }
        self._max_boxes = max_boxes
        self._unknown: set[str] = set()
        self._told_surplus = False

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
        name = self._name(example, record)
        if kind == example_issues.UNKNOWN_CLASS:
            return self._unknown_classes(example, name)
        if kind == example_issues.INVALID_BOX:
            return self._invalid_boxes(example, name)
        return self._surplus(example, name)

    def _reason(self, number: int, record: int) -> str:
        try:
            self._load(number, record)
        except tf.errors.OpError as error:
            reason = graph_errors.explain(error)
        else:
            reason = "it can be read now"
        place = self._index.place(record)
        named = reason if place in reason else f"{place}: {reason}"
        return f"A corrupt example is skipped: {named}"

    def _unknown_classes(self, example: tf.train.Example, name: str) -> str:
        texts = [_text(value) for value in _values(example, TfExample.class_text)]
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
        corners = [_values(example, key) for key in BOX_KEYS]
        for number, box in enumerate(zip(*corners, strict=False)):
            ymin, xmin, ymax, xmax = (min(max(value, 0.0), 1.0) for value in box)
            if not (ymax > ymin and xmax > xmin):
                shown = ", ".join(f"{value:g}" for value in box)
                return (
                    f"Image {name}: box number {number}, ymin, xmin, ymax, xmax = {shown}, has no "
                    "area inside the image; boxes in records are fractions of the image, 0 to 1. "
                    "Such boxes are dropped."
                )
        return ""

    def _surplus(self, example: tf.train.Example, name: str) -> str:
        if self._told_surplus:
            return ""
        self._told_surplus = True
        number = len(_values(example, BOX_KEYS[0]))
        return (
            f"Image {name} has {number} boxes, max_number_of_boxes is {self._max_boxes}: the "
            "surplus boxes of this and other images are not trained on. Raise max_number_of_boxes "
            "to keep them."
        )

    def _read(self, record: int) -> tf.train.Example:
        path = self._index.files[self._index.file_numbers[record]]
        data = record_files.record_at(
            tf.constant(path), tf.constant(self._index.offsets[record], tf.int64)
        ).get_single_element()
        return tf.train.Example.FromString(data.numpy())

    def _name(self, example: tf.train.Example, record: int) -> str:
        place = self._index.place(record)
        for key in (TfExample.source_id, TfExample.filename):
            for value in _values(example, key):
                if value:
                    return f"{_text(value)[:MAX_TEXT]} ({place})"
        return place


def _values(example: tf.train.Example, key: str) -> list:
    if key not in example.features.feature:
        return []
    feature = example.features.feature[key]
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []


def _text(value: bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
