"""Batches for training and evaluation: pairs of features and labels.

Shape letters: B batch, h w inputs, G padded objects, K classes without background.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from object_detection_mtl.builders import input_reader_builder, train_config_builder
from object_detection_mtl.fields import Batch, Groundtruth
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.odapi.builders import model_builder
from object_detection_mtl.odapi.detection_model import DetectionModel
from object_detection_mtl.protos import (
    eval_pb2,
    input_reader_pb2,
    model_pb2,
    train_pb2,
)

__getattr__ = missing_names.module_getattr(__name__)

_LABELS = (
    Groundtruth.boxes,
    Groundtruth.weights,
    Groundtruth.num_boxes,
    Groundtruth.is_crowd,
    Groundtruth.difficult,
    Groundtruth.group_of,
    Groundtruth.area,
)


def train_input(
    train_config: train_pb2.TrainConfig,
    train_input_config: input_reader_pb2.InputReader,
    model_config: model_pb2.DetectionModel,
    model: DetectionModel | None = None,
    params: Any = None,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Return endless batches of augmented training data.

    Args:
        train_config: batch size, augmentation and seed.
        train_input_config: the records.
        model_config: the model, for its image resizer and classes.
        model: this model's preprocessing; None builds a model for it.
        params: a dictionary whose `batch_size` takes precedence.
        input_context: divides the examples among input pipelines.

    Returns:
        Batches (features, labels). Features: `image` [B, h, w, 3] preprocessed,
        `true_image_shape` [B, 3], `original_image_spatial_shape` [B, 2] and `source_id`. Labels:
        `groundtruth_boxes` [B, G, 4], `groundtruth_classes` [B, G, K] one-hot,
        `groundtruth_weights` [B, G], `num_groundtruth_boxes` [B] and flags.
    """
    model = model or model_builder.build(model_config, is_training=True)
    dataset = input_reader_builder.build_dataset(
        train_input_config,
        preprocess_fn=input_reader_builder.preprocess_one(model.detector),
        num_classes=model.num_classes,
        batch_size=(params or {}).get("batch_size") or train_config.batch_size,
        is_training=True,
        augmentation_steps=train_config.data_augmentation_options,
        seed=train_config.seed,
        max_boxes=train_config_builder.max_boxes(train_config),
        input_context=input_context,
    )
    return _as_pairs(dataset, model.num_classes)


def eval_input(
    eval_config: eval_pb2.EvalConfig,
    eval_input_config: input_reader_pb2.InputReader,
    model_config: model_pb2.DetectionModel,
    model: DetectionModel | None = None,
    params: Any = None,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Return the evaluation data once, in order; see `train_input`.

    The features also have `original_image` [B, H, W, 3] uint8.
    """
    model = model or model_builder.build(model_config, is_training=False)
    dataset = input_reader_builder.build_dataset(
        eval_input_config,
        preprocess_fn=input_reader_builder.preprocess_one(model.detector),
        num_classes=model.num_classes,
        batch_size=(params or {}).get("batch_size") or eval_config.batch_size or 1,
        is_training=False,
        retain_original_images=True,
        input_context=input_context,
    )
    return _as_pairs(dataset, model.num_classes)


def _as_pairs(dataset: tf.data.Dataset, num_classes: int) -> tf.data.Dataset:
    def split(batch: dict[str, tf.Tensor]) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        features = {
            "image": batch[Batch.inputs],
            "true_image_shape": batch[Batch.true_image_shapes],
            "original_image_spatial_shape": batch[Batch.original_image_shapes][:, :2],
            "source_id": batch[Batch.image_id],
        }
        if Batch.original_images in batch:
            features["original_image"] = batch[Batch.original_images]
        labels = {key: batch[key] for key in _LABELS if key in batch}
        # Padding has class 0, which has no column.
        labels[Groundtruth.classes] = tf.one_hot(batch[Groundtruth.classes] - 1, num_classes)
        return features, labels

    return dataset.map(split)
