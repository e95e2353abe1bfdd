"""Judging a detector that finds objects without naming their class: proposals alone.

Everything it finds counts as class 1, so every annotated object does, too (as in the OD API). The
one class that is left is called what it is, instead of by the name of the label map's first.
"""

from collections.abc import Mapping

import tensorflow as tf

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.fields import Groundtruth

OBJECT = Category(1, "object", "object")


def as_objects(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The batches with class 1 for every object; padding keeps its 0."""

    def name_object(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**batch, Groundtruth.classes: tf.minimum(batch[Groundtruth.classes], OBJECT.id)}

    return dataset.map(name_object)
