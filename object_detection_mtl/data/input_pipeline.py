"""Input pipeline: from record files to padded batches.

Shape letters: B batch, G padded ground-truth boxes, K classes without background, H W a decoded
image, h w an image of the batch.

Every example of a training run has a number: 0, 1, 2, ... The number determines its record (each
epoch is a permutation of all records, drawn from the seed and the epoch) and its augmentation
(drawn from the seed and the number). So a run that resumes at example n gets the same examples as
an uninterrupted run, without reading the earlier ones, and the result does not depend on the number
of threads or workers. Records are read at their offsets in the files, so no shuffle buffer is
needed, which would shuffle less and keep images in memory.

Corrupt examples are errors, or skipped up to a number of them. The next examples of the permutation
take their places, so that batches stay full; a run resumes after the number of its last example.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from object_detection_mtl.data import (
    augmentation,
    auxiliary_labels,
    corrupt_examples,
    dataset_options,
    example_decoder,
    example_issues,
    example_loading,
    example_order,
    graph_errors,
    record_files,
)
from object_detection_mtl.data import data_service as data_service_input
from object_detection_mtl.data.augmentation import Augmentation
from object_detection_mtl.data.auxiliary_labels import LabelMaker
from object_detection_mtl.data.example_descriptions import ExampleDescriber, ObjectDescriber
from object_detection_mtl.data.example_loading import PreprocessFn


@dataclasses.dataclass(frozen=True)
class ExamplePipeline:
    """A dataset and access to its single examples.

    Attributes:
        dataset: the batches.
        describe: see `example_issues.Describe`.
        num_examples: examples of one pass of this pipeline; None if the dataset is endless.
        is_repeatable: whether the same arguments give the same examples in the same order.
        corrupt_limit: limit of the corrupt records of a training; None if there may be none.
        data_service: address of the dispatcher of the tf.data service that reads it, if one does.
    """

    dataset: tf.data.Dataset
    describe: example_issues.Describe
    num_examples: int | None
    is_repeatable: bool = True
    corrupt_limit: corrupt_examples.CorruptLimit | None = None
    data_service: str | None = None


def make_dataset(file_patterns: str | Iterable[str], **options: Any) -> tf.data.Dataset:
    """Build the dataset of a training or evaluation run; see `make_pipeline`."""
    return make_pipeline(file_patterns, **options).dataset


def make_pipeline(
    file_patterns: str | Iterable[str],
    *,
    preprocess_fn: PreprocessFn,
    batch_size: int,
    is_training: bool,
    num_classes: int,
    label_map: Sequence[example_decoder.LabelMapItem] | None = None,
    prefer_display_name: bool = False,
    augmentations: Sequence[Augmentation] = (),
    shuffle: bool = True,
    seed: int = 0,
    start_example: int = 0,
    max_boxes: int | None = None,
    num_readers: int = 8,
    num_prefetch_batches: int = 2,
    sample_1_of_n: int = 1,
    retain_original_images: bool = False,
    labels: LabelMaker | None = None,
    input_context: tf.distribute.InputContext | None = None,
    limits: example_decoder.ExampleLimits | None = None,
    max_corrupt_examples: int = 0,
    data_service: str | None = None,
) -> ExamplePipeline:
    """Build the input pipeline of a training or evaluation run.

    Training data are repeated endlessly, every record once per epoch. Evaluation data are read
    once, in the order of the files, and the last batch may be smaller.

    Args:
        file_patterns: paths or patterns of record files.
        preprocess_fn: from one image [H, W, 3] float32, 0..255, to the model's input [h, w, 3]
            float32 and its true shape [3] int32 (h and w without padding). Then a batch is padded
            with zeros to the largest h and w of the batch.
        batch_size: images in a batch of one input pipeline.
        is_training: see above. Augmentation, shuffling and start_example apply to training only.
        num_classes: K.
        label_map: items with id, name, display_name, to look up class texts. None: class numbers
            are used.
        prefer_display_name: look texts up among the display names first.
        augmentations: see augmentation.py.
        shuffle: permute the records in each epoch.
        seed: seed of shuffling and augmentation.
        start_example: number of the first example: no example with a lower number is read.
        max_boxes: G. None: the largest number of boxes in the batch, at least 1. Surplus boxes are
            dropped and counted.
        num_readers: number of records that are read in parallel.
        num_prefetch_batches: number of batches that are prefetched.
        sample_1_of_n: use only every n-th record.
        retain_original_images: add original_images [B, H, W, 3] uint8, padded with zeros: the image
            as augmented, which the boxes fit.
        labels: computes or reads the labels of the auxiliary tasks; None: there are none.
        input_context: context of a tf.distribute strategy; it divides the examples among input
            pipelines.
        limits: examples beyond them are corrupt; None for the defaults.
        max_corrupt_examples: number of different records that are skipped because they are
            corrupt; one more is an error. Each worker of a cluster or of a data service counts its
            own here; `ExamplePipeline.corrupt_limit` is for the caller that counts all of them.
        data_service: "grpc://host:port", the dispatcher of a tf.data service whose workers run the
            pipeline (training only). The order of the examples is not repeatable then, and those
            of a worker that ends are lost.

    Returns:
        The pipeline; its batches are dictionaries, keys in fields.Batch and fields.Groundtruth.

    Raises:
        ValueError: an argument is out of range, or see record_files.index_records.
        FileNotFoundError: see record_files.index_records.
        InvalidArgumentError: (while reading) a record or image is corrupt, or a class number is
            greater than K; the message names the image, or the file and the byte.
    """
    _check_arguments(
        batch_size, start_example, max_boxes, sample_1_of_n, augmentations, is_training
    )
    index = record_files.index_records(file_patterns).every(sample_1_of_n)
    use = "training" if is_training else "evaluation"
    logging.info("%d records in %d files for %s", len(index), len(index.files), use)
    stored, on_the_fly = (labels, None) if labels and labels.from_records else (None, labels)
    object_keys = frozenset(augmentation.OBJECT_LISTS) | (
        labels.object_keys if labels else frozenset()
    )
    decode = example_decoder.make_decoder(
        num_classes,
        label_map,
        prefer_display_name=prefer_display_name,
        stored=stored,
        limits=limits,
    )
    load = example_loading.make_loader(
        decode,
        preprocess_fn,
        seed,
        augmentations,
        max_boxes,
        object_keys,
        stored=stored,
        on_the_fly=on_the_fly,
        is_training=is_training,
        retain_original_images=retain_original_images,
    )
    if is_training:
        make_places = example_order.pipeline_places
        if data_service:
            make_places = example_order.service_places
        places = make_places(len(index), shuffle, seed, start_example, input_context)
    else:
        places = example_order.evaluation_places(len(index), input_context)
    read = _make_reader(index, stored)
    if max_corrupt_examples:
        examples = corrupt_examples.drop_corrupt(places, read, load, index, max_corrupt_examples)
    else:
        examples = places.map(read, num_parallel_calls=max(1, num_readers))
        examples = examples.map(load, num_parallel_calls=tf.data.AUTOTUNE)
    if on_the_fly is not None:
        examples = auxiliary_labels.with_labels(examples, on_the_fly, endless=is_training)
    batches = _padded_batches(examples, batch_size, max_boxes, object_keys, is_training)
    if data_service:
        batches = data_service_input.read_by_service(batches, data_service)

    def load_one(number: int, record: int) -> None:
        one = tf.data.Dataset.from_tensors((tf.constant(number, tf.int64), record))
        list(one.map(read).map(load))

    record_of = example_order.record_finder(len(index), shuffle and is_training, seed)
    objects = ObjectDescriber(label_map, max_boxes)
    return ExamplePipeline(
        batches.prefetch(max(1, num_prefetch_batches)).with_options(_dataset_options()),
        ExampleDescriber(index, record_of, load_one, objects).describe,
        None if is_training else _num_examples(len(index), input_context),
        is_repeatable=not data_service,
        data_service=data_service,
        corrupt_limit=corrupt_examples.make_limit(max_corrupt_examples, index, record_of),
    )


def _check_arguments(
    batch_size: int,
    start_example: int,
    max_boxes: int | None,
    sample_1_of_n: int,
    augmentations: Sequence[Augmentation],
    is_training: bool,
) -> None:
    for name, value, least in (
        ("batch_size", batch_size, 1),
        ("start_example", start_example, 0),
        ("max_boxes", 1 if max_boxes is None else max_boxes, 1),
        ("sample_1_of_n_examples", sample_1_of_n, 1),
    ):
        if value < least:
            raise ValueError(f"{name} is {value}, expected at least {least}")
    if augmentations and not is_training:
        raise ValueError(
            f"{len(augmentations)} augmentations are given for evaluation, expected none; they "
            "apply to training data only"
        )


def _make_reader(
    index: record_files.RecordIndex, stored: LabelMaker | None
) -> Callable[..., tuple]:
    """Return read(example number, record number) -> (example number, parsed features, place)."""
    files = tf.constant(index.files)
    file_numbers = tf.constant(index.file_numbers)
    offsets = tf.constant(index.offsets)
    positions = tf.constant(index.positions)
    nothing = example_decoder.empty_features(stored=stored)

    # It has no Python control flow on tensors; AutoGraph would double the tracing time.
    @tf.autograph.experimental.do_not_convert
    def read(number: tf.Tensor, record: tf.Tensor) -> tuple:
        path, offset = files[file_numbers[record]], offsets[record]
        attempt = record_files.record_at(path, offset).map(
            lambda data: (True, example_decoder.parse(data, stored=stored))
        )
        succeeded, parsed = graph_errors.first_or(attempt, (tf.constant(False), nothing))
        position = tf.strings.as_string(positions[record])
        place = tf.strings.join(
            [path, ", record ", position, ", at byte ", tf.strings.as_string(offset)]
        )
        check = tf.debugging.Assert(
            succeeded,
            [example_decoder.CORRUPT_RECORD, place],
        )
        with tf.control_dependencies([check]):
            return number, {key: tf.identity(value) for key, value in parsed.items()}, place

    return read


def _num_examples(num_records: int, context: tf.distribute.InputContext | None) -> int:
    """Return the number of examples of one pass of this pipeline."""
    if context is None:
        return num_records
    return len(range(context.input_pipeline_id, num_records, context.num_input_pipelines))


def _padded_batches(
    examples: tf.data.Dataset,
    batch_size: int,
    max_boxes: int | None,
    object_keys: frozenset[str],
    drop_remainder: bool,
) -> tf.data.Dataset:
    """Return batches padded with zeros: classes 0, weights 0, normalized inputs 0."""
    shapes = {key: spec.shape for key, spec in examples.element_spec.items()}
    for key in shapes.keys() & object_keys:
        shapes[key] = tf.TensorShape([max_boxes]).concatenate(shapes[key][1:])
    return examples.padded_batch(batch_size, shapes, drop_remainder=drop_remainder)


def _dataset_options() -> tf.data.Options:
    options = dataset_options.fixed_parallelism()
    options.deterministic = True
    # The examples are divided by number above; sharding by file would repeat or lose some.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
