"""Labels of auxiliary tasks in the input pipeline: made from boxes, or read from records.

Shape letters: N objects of one image, K classes without background, ... no dimension for one image,
or one dimension for a padded chunk of images.

Labels are made from the boxes that the model will see, after all augmentation, with new windows in
every epoch; so augmentation may move boxes, and records need to hold nothing but boxes. All objects
count, crowds and difficult ones too, as in the authors' converters; options of the `TaskLabelMaker`
exclude them. Windows are at least 32 pixels high and wide, in pixels of the image before it is
resized, as in the authors' converters.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import tensorflow as tf

from object_detection_mtl.fields import Batch, Groundtruth, TfExample, values_of

Tensors = dict[str, tf.Tensor]

# Keys of every batch, which labels cannot have.
RESERVED_KEYS = values_of(Batch) | {
    Groundtruth.boxes,
    Groundtruth.classes,
    Groundtruth.num_boxes,
    Groundtruth.weights,
    Groundtruth.is_crowd,
    Groundtruth.difficult,
    Groundtruth.group_of,
    Groundtruth.image_classes,
    Groundtruth.area,
    Groundtruth.proposal_matches,
    Groundtruth.proposal_weights,
}


class LabelSpec(NamedTuple):
    """One label of one image.

    Attributes:
        shape: without the batch dimension; None where images differ. Batches are padded with zeros.
        dtype: dtype of the tensor.
        per_object: the first dimension is that of the ground-truth boxes; rows are dropped,
            limited and padded together with them.
    """

    shape: tuple[int | None, ...]
    dtype: tf.DType = tf.float32
    per_object: bool = False


class LabelInputs(NamedTuple):
    """Inputs of labels, for one image or a chunk of images.

    Attributes:
        boxes: [..., N, 4], normalized; rows of class 0 are padding, or make no labels.
        classes: int32 [..., N], 1..K.
        image_size: int32 [..., 2], height and width in pixels.
        seed: int32 [..., 2], seed of all random numbers.
        num_classes: K.
    """

    boxes: tf.Tensor
    classes: tf.Tensor
    image_size: tf.Tensor
    seed: tf.Tensor
    num_classes: int

    @property
    def valid(self) -> tf.Tensor:
        """Whether a row is an object that makes labels: bool [..., N]."""
        return self.classes > 0


class StoredInputs(NamedTuple):
    """One parsed record that stores labels.

    Attributes:
        features: key of the record -> parsed values, empty where absent.
        num_objects: int32 [], N of the record.
        image_id: string [], for error messages.
        num_classes: K.
    """

    features: Tensors
    num_objects: tf.Tensor
    image_id: tf.Tensor
    num_classes: int


class TaskLabels(abc.ABC):
    """Labels of one auxiliary task: their keys and specs, and how they are made.

    A task whose labels records can store also has `stored`, `read` and `flip_left_right`.

    Attributes:
        stored: feature of the record -> dtype; empty: records cannot store these labels.
    """

    stored: ClassVar[Mapping[str, tf.DType]] = {}

    @abc.abstractmethod
    def specs(self, num_classes: int) -> dict[str, LabelSpec]:
        """Return key in the batch -> spec of the label."""

    @abc.abstractmethod
    def make(self, inputs: LabelInputs) -> Tensors:
        """Return the labels of one image or of a chunk of images, each [..., *shape].

        Images must not influence each other.
        """

    def read(self, inputs: StoredInputs) -> Tensors:
        """Return the labels that a record stores."""
        raise NotImplementedError(f"{type(self).__name__}: records do not store these labels")

    def flip_left_right(self, labels: Tensors) -> Tensors:
        """Return the labels of `specs` that mirroring the image changes, mirrored."""
        raise NotImplementedError(f"{type(self).__name__}: records do not store these labels")


@dataclass(frozen=True)
class TaskLabelMaker:
    """All labels that the auxiliary tasks of one detector need.

    Attributes:
        tasks: labels of each task.
        num_classes: K.
        from_records: read the labels that the records store instead of making them.
        from_crowd: whether crowds make labels.
        from_difficult: whether difficult objects make labels.
    """

    tasks: tuple[TaskLabels, ...]
    num_classes: int
    from_records: bool = False
    from_crowd: bool = True
    from_difficult: bool = True

    def __post_init__(self) -> None:
        """Raise ValueError if specs are malformed, or a key is not that of one task alone."""
        owners: dict[str, TaskLabels] = {}
        for task in self.tasks:
            kind = type(task).__name__
            for key, spec in task.specs(self.num_classes).items():
                if not isinstance(spec, LabelSpec):
                    raise ValueError(f"{kind}.specs: {key!r} is {spec!r}; expected a LabelSpec")
                if key in RESERVED_KEYS:
                    raise ValueError(
                        f"{kind}.specs: {key!r} is a key of every batch; choose another for a label"
                    )
                other = owners.setdefault(key, task)
                if other is not task and other != task:
                    raise ValueError(
                        f"{kind}.specs: {key!r} is also a label of {type(other).__name__} with "
                        "other options; give each label a key of its own"
                    )

    @property
    def specs(self) -> dict[str, LabelSpec]:
        """Key in the batch -> spec, of all tasks."""
        specs: dict[str, LabelSpec] = {}
        for task in self.tasks:
            specs |= task.specs(self.num_classes)
        return specs

    @property
    def object_keys(self) -> frozenset[str]:
        """Keys of the labels that have one row per ground-truth box."""
        return frozenset(key for key, spec in self.specs.items() if spec.per_object)

    def label(
        self, example: Mapping[str, tf.Tensor], image_size: tf.Tensor, seed: tf.Tensor
    ) -> Tensors:
        """Return the labels of one decoded and augmented example: `make` of its `sources`."""
        return self.make(self.sources(example, image_size, seed))

    def sources(
        self, example: Mapping[str, tf.Tensor], image_size: tf.Tensor, seed: tf.Tensor
    ) -> Tensors:
        """Return the inputs of the labels of one example, as a dictionary that can be padded.

        Args:
            example: boxes [N, 4], classes [N] and, where they matter, crowd and difficult flags.
            image_size: [2], height and width in pixels.
            seed: int32 [2].
        """
        classes = example[Groundtruth.classes]
        if not self.from_crowd:
            classes = tf.where(example[Groundtruth.is_crowd], 0, classes)
        if not self.from_difficult:
            classes = tf.where(example[Groundtruth.difficult], 0, classes)
        return {
            "boxes": example[Groundtruth.boxes],
            "classes": classes,
            "image_size": image_size,
            "seed": seed,
        }

    def make(self, sources: Tensors) -> Tensors:
        """Return key -> label of one image, or of a padded chunk of images.

        Args:
            sources: result of `sources`; for a chunk with an additional first dimension.

        Raises:
            ValueError: a task makes labels that do not match its specs.
        """
        inputs = LabelInputs(**sources, num_classes=self.num_classes)
        leading = sources["classes"].shape[:-1]
        labels: Tensors = {}
        for task in self.tasks:
            specs, made = task.specs(self.num_classes), task.make(inputs)
            if made.keys() != specs.keys():
                raise ValueError(
                    f"{type(task).__name__}.make returned the labels {sorted(made)}, but its specs "
                    f"have {sorted(specs)}; both must name the same keys"
                )
            for key, value in made.items():
                shape = leading.concatenate(specs[key].shape)
                if value.dtype != specs[key].dtype or not value.shape.is_compatible_with(shape):
                    raise ValueError(
                        f"{type(task).__name__}.make: {key} is {value.dtype.name} {value.shape}, "
                        f"but its spec is {specs[key].dtype.name} {shape}"
                    )
            labels |= made
        return labels

    def take_rows(self, labels: Tensors, number: tf.Tensor) -> Tensors:
        """Return labels whose per-object rows are limited to the first `number` boxes."""
        keys = self.object_keys
        return {key: value[:number] if key in keys else value for key, value in labels.items()}

    def parsing_spec(self) -> dict[str, tf.io.FixedLenSequenceFeature]:
        """Return what is parsed of a record for `read`; absent lists come out empty."""
        return {
            key: tf.io.FixedLenSequenceFeature([], dtype, allow_missing=True)
            for task in self.tasks
            for key, dtype in task.stored.items()
        }

    def read(self, parsed: Tensors, image_id: tf.Tensor) -> Tensors:
        """Return key -> label that a parsed record stores.

        Raises:
            InvalidArgumentError: (in the pipeline) labels that are missing or do not fit.
        """
        inputs = StoredInputs(parsed, tf.size(parsed[TfExample.ymin]), image_id, self.num_classes)
        labels: Tensors = {}
        for task in self.tasks:
            labels |= task.read(inputs)
        return labels

    def flip_left_right(self, example: Tensors) -> Tensors:
        """Return the example with mirrored labels, where it holds labels (`from_records`)."""
        flipped = dict(example)
        for task in self.tasks:
            if example.keys() >= task.specs(self.num_classes).keys():
                flipped |= task.flip_left_right(example)
        return flipped
