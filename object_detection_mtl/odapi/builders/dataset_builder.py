"""Datasets of single examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from object_detection_mtl.data import dataset_options, record_files
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.odapi.data_decoders.tf_example_decoder import TfExampleDecoder
from object_detection_mtl.protos import input_reader_pb2

__getattr__ = missing_names.module_getattr(__name__)


def build(
    input_reader_config: input_reader_pb2.InputReader,
    batch_size: int | None = None,
    transform_input_data_fn: Callable[[dict[str, tf.Tensor]], Any] | None = None,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Return the decoded examples of an input reader; see `TfExampleDecoder.decode`.

    Args:
        input_reader_config: a reader with tf_record_input_reader.
        batch_size: None for single examples; else the tensors of all examples, after
            `transform_input_data_fn`, must have one shape.
        transform_input_data_fn: applied to each example.
        input_context: divides the records among input pipelines.

    Raises:
        ValueError: another kind of reader, or files that are not records.
        FileNotFoundError: there is no such file.
    """
    if input_reader_config.WhichOneof("input_reader") != "tf_record_input_reader":
        raise ValueError(
            "the input reader has no tf_record_input_reader { input_path: ... }, the only kind of "
            "reader that is supported"
        )
    patterns = list(input_reader_config.tf_record_input_reader.input_path)
    files = record_files.index_records(patterns).files
    decoder = TfExampleDecoder(
        label_map_proto_file=input_reader_config.label_map_path or None,
        use_display_name=input_reader_config.use_display_name,
    )
    records = tf.data.TFRecordDataset(list(files))
    if input_context is not None:
        records = records.shard(input_context.num_input_pipelines, input_context.input_pipeline_id)
    if input_reader_config.sample_1_of_n_examples > 1:
        records = records.shard(input_reader_config.sample_1_of_n_examples, 0)
    if input_reader_config.shuffle:
        records = records.shuffle(input_reader_config.shuffle_buffer_size)
    records = records.repeat(input_reader_config.num_epochs or None)
    examples = records.map(decoder.decode, num_parallel_calls=tf.data.AUTOTUNE)
    if transform_input_data_fn is not None:
        examples = examples.map(transform_input_data_fn, num_parallel_calls=tf.data.AUTOTUNE)
    if batch_size is not None:
        examples = examples.batch(
            batch_size, drop_remainder=bool(input_reader_config.drop_remainder)
        )
    return examples.prefetch(tf.data.AUTOTUNE).with_options(dataset_options.fixed_parallelism())
