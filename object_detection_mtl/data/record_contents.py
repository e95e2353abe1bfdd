"""Boxes and classes of record files, examined before training or evaluation.

A run on boxes in pixels would finish without having seen an object. So some records, evenly spread
over the files, are read first; a larger number while a class has no object yet.
"""

from __future__ import annotations

import dataclasses
import struct
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from object_detection_mtl.config.errors import listing
from object_detection_mtl.data import box_forms
from object_detection_mtl.data.example_decoder import is_usable
from object_detection_mtl.data.example_format import BOX_KEYS, feature_values
from object_detection_mtl.data.record_files import RecordIndex, open_binary
from object_detection_mtl.fields import TfExample

MAX_EXAMINED = 2000
MAX_SEARCHED = 20_000  # while a class has no object
_HEADER = struct.Struct("<QI")


@dataclasses.dataclass
class RecordContents:
    """Contents of the examined records.

    Attributes:
        num_records: number of all records.
        num_examined: number of records that were read.
        boxes: of all objects, one array [N, 4] per image: ymin, xmin, ymax, xmax.
        sizes: height and width of each image, [2]; 0 if the record does not have them.
        usable: class number -> number of objects with a class and an area inside the image, without
            groups (is_crowd).
        unknown: class text that the label map lacks -> number of objects.
    """

    num_records: int
    num_examined: int = 0
    boxes: list[np.ndarray] = dataclasses.field(default_factory=list)
    sizes: list[np.ndarray] = dataclasses.field(default_factory=list)
    usable: Counter[int] = dataclasses.field(default_factory=Counter)
    unknown: Counter[str] = dataclasses.field(default_factory=Counter)

    @property
    def scope(self) -> str:
        """The examined records as text."""
        if self.num_examined < self.num_records:
            return f"{self.num_examined} examined of {self.num_records} records"
        return f"{self.num_records} record{'s' * (self.num_records != 1)}"

    def add(self, example: tf.train.Example, numbers: Mapping[str, int] | None) -> None:
        """Count the objects of a record.

        Args:
            example: the record.
            numbers: class text -> class number; None: the record's class numbers are used.
        """
        columns = [feature_values(example, key) for key in BOX_KEYS]
        are_numbers = all(isinstance(v, int | float) for column in columns for v in column)
        if len({len(column) for column in columns}) != 1 or not are_numbers:
            return  # A corrupt example; the input pipeline reports it.
        boxes = np.array(columns, np.float64).reshape(4, -1).T
        sides = [feature_values(example, key) for key in (TfExample.height, TfExample.width)]
        size = [side[0] if side and isinstance(side[0], int) else 0 for side in sides]
        self.boxes.append(boxes)
        self.sizes.append(np.array(size, np.float64))
        labels = [v for v in feature_values(example, TfExample.class_label) if isinstance(v, int)]
        texts = [v for v in feature_values(example, TfExample.class_text) if isinstance(v, bytes)]
        if numbers is not None and texts:
            names = [text.decode(errors="replace") for text in texts]
            self.unknown.update(name for name in names if name not in numbers)
            labels = [numbers.get(name, -1) for name in names]
        crowd = feature_values(example, TfExample.is_crowd)
        flags = crowd if len(crowd) == len(boxes) else [0] * len(boxes)
        for label, fine, is_crowd in zip(labels, is_usable(boxes), flags, strict=False):
            if fine and not is_crowd and label > 0:
                self.usable[label] += 1


def examine_records(
    index: RecordIndex, numbers: Mapping[str, int] | None, classes: Collection[int]
) -> RecordContents:
    """Read boxes and classes of some records.

    Args:
        index: the records.
        numbers: class text -> class number; None: the records' class numbers are used.
        classes: class numbers that should occur.

    Returns:
        The contents of `MAX_EXAMINED` records, evenly spread; of up to `MAX_SEARCHED` while a class
        has no object; of all while no object is usable. Corrupt records are skipped: the input
        pipeline reports them.
    """
    contents = RecordContents(len(index))
    step = -(-len(index) // MAX_EXAMINED)
    first = range(0, len(index), step)
    for example in _read(index, first):
        contents.num_examined += 1
        if example is not None:
            contents.add(example, numbers)
    for example in _read(index, (r for r in range(len(index)) if r % step)):
        if contents.usable and contents.num_examined >= MAX_SEARCHED:
            break
        if contents.usable and all(contents.usable[number] for number in classes):
            break
        contents.num_examined += 1
        if example is not None:
            contents.add(example, numbers)
    return contents


def _read(index: RecordIndex, records: Iterable[int]) -> Iterator[tf.train.Example | None]:
    """Yield records in the order of their numbers; None for an unreadable one."""
    path, file = "", None
    try:
        for record in records:
            wanted = index.files[index.file_numbers[record]]
            if wanted != path or file is None:
                if file is not None:
                    file.close()
                path, file = wanted, open_binary(wanted)
            file.seek(int(index.offsets[record]))
            length, _ = _HEADER.unpack(file.read(_HEADER.size))
            try:
                yield tf.train.Example.FromString(file.read(length))
            except DecodeError:
                yield None
    finally:
        if file is not None:
            file.close()


def form_of_boxes(contents: RecordContents) -> str:
    """Return what is wrong with the boxes as a whole, and the fix; "" if most are usable."""
    return box_forms.describe_form(contents.boxes, contents.sizes, contents.scope)


def missing_classes(contents: RecordContents, names: Mapping[int, str]) -> str:
    """Return which classes have no usable object; "" if each has one.

    Args:
        contents: the examined records.
        names: class number -> name, of the classes that should occur.
    """
    missing = [
        f"{name!r} ({number})" for number, name in names.items() if not contents.usable[number]
    ]
    if not missing:
        return ""
    noun = "class" if len(missing) == 1 else f"{len(missing)} classes"
    return f"no usable object of the {noun} {listing(missing, 8)} in {contents.scope}"


def no_object(contents: RecordContents) -> str:
    """Return that no object is usable, and why; "" if one is."""
    if contents.usable:
        return ""
    number = sum(len(boxes) for boxes in contents.boxes)
    if not number:
        return f"no object at all in {contents.scope}, expected at least one box"
    start = f"none of the {number} objects in {contents.scope} is usable"
    unknown = contents.unknown.most_common()
    if unknown:
        texts = listing([repr(text) for text, _ in unknown], 8)
        return (
            f"{start}: the label map lacks their classes {texts}. Give the label map that the "
            "records were made with"
        )
    return (
        f"{start}: their boxes have no area, their class numbers are not positive, or they are "
        "groups (is_crowd)"
    )
