"""`InputReader` -> a dataset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf
from absl import logging

from object_detection_mtl.builders import augmentation_builder, label_builder
from object_detection_mtl.config import label_map
from object_detection_mtl.config.errors import listing
from object_detection_mtl.data import input_pipeline, record_contents, record_files
from object_detection_mtl.data.example_decoder import ExampleLimits, class_numbers
from object_detection_mtl.data.example_loading import PreprocessFn
from object_detection_mtl.data.input_pipeline import ExamplePipeline
from object_detection_mtl.mtl.task_labels import TaskLabelMaker
from object_detection_mtl.protos import faster_rcnn_pb2, input_reader_pb2, preprocessor_pb2


def build_dataset(input_reader: input_reader_pb2.InputReader, **options: Any) -> tf.data.Dataset:
    """Build the dataset that an input reader describes; see `build_pipeline`."""
    return build_pipeline(input_reader, **options).dataset


def build_pipeline(
    input_reader: input_reader_pb2.InputReader,
    *,
    preprocess_fn: PreprocessFn,
    num_classes: int,
    batch_size: int,
    is_training: bool,
    augmentation_steps: Iterable[preprocessor_pb2.PreprocessingStep] = (),
    seed: int = 0,
    start_example: int = 0,
    max_boxes: int | None = None,
    retain_original_images: bool = False,
    labels: TaskLabelMaker | None = None,
    input_context: tf.distribute.InputContext | None = None,
    data_service: str | None = None,
) -> ExamplePipeline:
    """Build the input pipeline that an input reader describes; see data.input_pipeline.

    The reader's fields that have an effect: label_map_path, input_path, shuffle (training only),
    num_readers, sample_1_of_n_examples, use_display_name, max_corrupt_examples, max_image_pixels,
    max_boxes_per_example, and max_number_of_boxes if it is set (training only: evaluation drops no
    box).

    Args:
        input_reader: the message, of a resolved configuration.
        preprocess_fn: see `input_pipeline.make_pipeline`.
        num_classes: number of classes of the model.
        batch_size: batch size of one input pipeline.
        is_training: endless, shuffled and augmented, or one pass in order.
        augmentation_steps: train_config.data_augmentation_options; ignored in evaluation.
        seed: see `input_pipeline.make_pipeline`.
        start_example: see `input_pipeline.make_pipeline`.
        max_boxes: used if the reader does not set max_number_of_boxes (training only).
        retain_original_images: see `input_pipeline.make_pipeline`.
        labels: see `input_pipeline.make_pipeline`.
        input_context: see `input_pipeline.make_pipeline`.
        data_service: see `input_pipeline.make_pipeline`; ignored in evaluation.

    Raises:
        ValueError: no tf_record_input_reader, a label map that contradicts num_classes, a step that
            is not supported or that stored labels cannot follow, or records that cannot be read.
        FileNotFoundError: no such label map or record file.
    """
    if input_reader.WhichOneof("input_reader") != "tf_record_input_reader":
        raise ValueError(
            "the input reader has no tf_record_input_reader { input_path: ... }, the only kind of "
            "reader that is supported"
        )
    steps = list(augmentation_steps) if is_training else []
    label_builder.check_augmentation(labels, steps)
    if input_reader.HasField("max_number_of_boxes"):
        max_boxes = input_reader.max_number_of_boxes
    return input_pipeline.make_pipeline(
        list(input_reader.tf_record_input_reader.input_path),
        preprocess_fn=preprocess_fn,
        batch_size=batch_size,
        is_training=is_training,
        num_classes=num_classes,
        label_map=load_label_map(input_reader, num_classes),
        prefer_display_name=input_reader.use_display_name,
        augmentations=augmentation_builder.build_all(steps),
        shuffle=input_reader.shuffle,
        seed=seed,
        start_example=start_example,
        max_boxes=max_boxes if is_training else None,
        num_readers=input_reader.num_readers,
        sample_1_of_n=input_reader.sample_1_of_n_examples,
        retain_original_images=retain_original_images,
        labels=labels,
        input_context=input_context,
        limits=ExampleLimits(input_reader.max_image_pixels, input_reader.max_boxes_per_example),
        max_corrupt_examples=input_reader.max_corrupt_examples,
        data_service=data_service if is_training else None,
    )


def examine_records(
    input_reader: input_reader_pb2.InputReader,
    model: faster_rcnn_pb2.FasterRcnn,
    *,
    is_training: bool,
) -> None:
    """Examine boxes and classes of a reader's records before they are used.

    Args:
        input_reader: the message, of a resolved configuration.
        model: has the number of classes; classes without an object are reported, except for a model
            of proposals alone.
        is_training: records without a usable object are an error in training, and reported in
            evaluation.

    Raises:
        ValueError: most boxes are not fractions of the image, or no object can be trained on.
        FileNotFoundError: no such label map or record file.
    """
    by_class = model.number_of_stages != 1
    categories = load_label_map(input_reader, model.num_classes)
    names = {number: str(number) for number in range(1, model.num_classes + 1)}
    numbers = None
    if categories is not None:
        names = {category.id: category.name for category in categories}
        numbers = class_numbers(categories, prefer_display_name=input_reader.use_display_name)
    patterns = list(input_reader.tf_record_input_reader.input_path)
    whole_index = record_files.index_records(patterns)
    _report_empty_files(whole_index)
    index = whole_index.every(input_reader.sample_1_of_n_examples)
    contents = record_contents.examine_records(index, numbers, names if by_class else ())
    place = listing(patterns, 2)
    problem = record_contents.form_of_boxes(contents)
    if problem:
        raise ValueError(f"{place}: {problem}")
    nothing = record_contents.no_object(contents)
    if nothing and is_training:
        raise ValueError(f"{place}: {nothing}")
    if nothing:
        logging.warning("%s: %s. Every average precision is undefined, -1.", place, nothing)
        return
    missing = record_contents.missing_classes(contents, names) if by_class else ""
    if missing:
        what = "It is not learned" if is_training else "Its average precision is undefined"
        logging.warning("%s: %s. %s.", place, missing, what)


def _report_empty_files(index: record_files.RecordIndex) -> None:
    """Log which record files are empty, as those of an interrupted copy are."""
    empty = index.files_without_records()
    if empty:
        logging.warning(
            "%d of %d record files have no record: %s",
            len(empty),
            len(index.files),
            listing(empty, 4),
        )


def load_label_map(
    input_reader: input_reader_pb2.InputReader, num_classes: int
) -> list[label_map.Category] | None:
    """Return the categories of the reader's label map; None where it names none.

    Raises:
        ConfigError: no usable label map, or one with ids beyond `num_classes`.
        FileNotFoundError: there is no such file.
    """
    if not input_reader.label_map_path:
        return None
    categories = label_map.load(input_reader.label_map_path)
    label_map.check_num_classes(categories, num_classes, input_reader.label_map_path)
    return categories


def preprocess_one(detector: Any) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Return `detector.preprocess` for a single image [H, W, 3], for the input pipeline."""

    def preprocess(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        model_inputs, true_image_shapes = detector.preprocess(image[tf.newaxis])
        return model_inputs[0], true_image_shapes[0]

    return preprocess
