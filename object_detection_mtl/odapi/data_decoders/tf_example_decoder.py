"""Decoder of records. Shape letters: N objects of one image, H W the image."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf

from object_detection_mtl.config import label_map
from object_detection_mtl.data import example_decoder
from object_detection_mtl.data.augmentation import IMAGE
from object_detection_mtl.fields import Batch, Groundtruth, TfExample
from object_detection_mtl.odapi import missing_names
from object_detection_mtl.odapi.core.standard_fields import InputDataFields

__getattr__ = missing_names.module_getattr(__name__)

_ANY_CLASS = 2**31 - 1


class TfExampleDecoder:
    """Decodes a serialized tf.train.Example."""

    def __init__(
        self,
        load_instance_masks: bool = False,
        instance_mask_type: Any = None,
        label_map_proto_file: str | os.PathLike[str] | None = None,
        use_display_name: bool = False,
        **ignored: Any,
    ) -> None:
        """Make the decoder.

        Args:
            load_instance_masks: unsupported.
            instance_mask_type: has no effect.
            label_map_proto_file: to look class texts up; None: class numbers are used.
            use_display_name: look texts up among the display names first.
            **ignored: options of keypoints, masks and context features, which must be false.

        Raises:
            ValueError: an unsupported option is set.
        """
        wanted = {"load_instance_masks": load_instance_masks, **ignored}
        switched_on = [name for name, value in wanted.items() if value]
        if switched_on:
            raise ValueError(f"TfExampleDecoder: unsupported: {', '.join(switched_on)}; omit it")
        categories = None if label_map_proto_file is None else label_map.load(label_map_proto_file)
        self._decode = example_decoder.make_decoder(
            _ANY_CLASS, categories, prefer_display_name=use_display_name
        )

    def decode(self, tf_example_string_tensor: Any) -> dict[str, tf.Tensor]:
        """Return the contents of a record.

        Args:
            tf_example_string_tensor: a scalar string.

        Returns:
            `image` [H, W, 3] uint8, `source_id`, `filename`, `key`, `groundtruth_boxes` [N, 4],
            `groundtruth_classes` [N] int64, `groundtruth_weights`, `groundtruth_area`,
            `groundtruth_is_crowd`, `groundtruth_difficult`, `groundtruth_group_of` [N],
            `num_groundtruth_boxes` and `original_image_spatial_shape` [2].
        """
        serialized = tf.convert_to_tensor(tf_example_string_tensor)
        parsed = example_decoder.parse(serialized)
        example = self._decode(parsed, tf.constant("a record without source_id and filename"))
        example.pop(Batch.image_id)
        image = example[IMAGE]
        fields = InputDataFields
        return {
            **example,
            fields.groundtruth_classes: tf.cast(example[Groundtruth.classes], tf.int64),
            fields.source_id: parsed[TfExample.source_id],
            fields.filename: parsed[TfExample.filename],
            fields.key: parsed[TfExample.sha256],
            fields.num_groundtruth_boxes: tf.shape(example[Groundtruth.boxes])[0],
            fields.original_image_spatial_shape: tf.shape(image)[:2],
        }
