"""A real two-stage detector small enough to train in a test, and batches for it.

One strided convolution is the whole first stage, one more the second: 32x32 images, stride 8.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from object_detection_mtl.backbones.backbone import Backbone
from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm
from object_detection_mtl.fields import Batch, Groundtruth
from object_detection_mtl.models import rpn
from object_detection_mtl.models.faster_rcnn import CropSecondStage
from object_detection_mtl.models.postprocess import DetectionSelection
from object_detection_mtl.models.proposals import ProposalSampling, ProposalSelection
from object_detection_mtl.models.two_stage import TwoStageDetector
from object_detection_mtl.ops.anchors import GridAnchorGenerator
from object_detection_mtl.predictors.mask_rcnn import MaskRcnnBoxPredictor
from object_detection_mtl.predictors.predictor_layers import LayerHyperparams
from object_detection_mtl.predictors.roi_head import RoiHead

CHANNELS = 4


def tiny_backbone(
    backbone_scope: str = "TinyNet", channels: int = CHANNELS, *, stride: int = 8
) -> Backbone:
    """The whole stride in one convolution; the second stage is another one."""
    regularizer = keras.regularizers.L2(1e-3)
    image = keras.Input((None, None, 3))
    conv = ConvBatchNorm(
        channels,
        stride,
        strides=stride,
        activation=tf.nn.relu,
        kernel_regularizer=regularizer,
        name="Conv2d_0",
    )

    def make_stage2(name: str) -> keras.Model:
        crops = keras.Input((None, None, channels))
        layer = ConvBatchNorm(channels, 1, activation=tf.nn.relu, name="Conv2d_1")
        return keras.Model(crops, layer(crops), name=name)

    return Backbone(
        backbone_scope, keras.Model(image, conv(image)), make_stage2, lambda x: x / 127.5 - 1.0
    )


def tiny_detector(
    num_classes: int = 2,
    *,
    is_training: bool = True,
    seed: int = 1,
    backbone_scope: str = "TinyNet",
    channels: int = CHANNELS,
    dropout_keep_probability: float = 1.0,
) -> TwoStageDetector:
    """A `TwoStageDetector` of about 700 weights, the same for the same seed."""
    keras.utils.set_random_seed(seed)
    backbone = tiny_backbone(backbone_scope, channels)
    predictor = MaskRcnnBoxPredictor(
        in_channels=channels,
        num_classes=num_classes,
        hyperparams=LayerHyperparams(),
        dropout_keep_probability=dropout_keep_probability,
    )
    head = RoiHead(backbone.make_stage2("stage2"), predictor)
    return TwoStageDetector(
        num_classes=num_classes,
        image_resizer=lambda images: (
            images,
            tf.tile([[tf.shape(images)[1], tf.shape(images)[2], 3]], [tf.shape(images)[0], 1]),
        ),
        backbone=backbone,
        region_proposals=rpn.RegionProposalNetwork(
            anchor_generator=GridAnchorGenerator((0.25, 0.5), (1.0,), (32.0, 32.0), (8, 8)),
            in_channels=channels,
            depth=CHANNELS,
            sampling=rpn.RpnSampling(minibatch_size=16),
        ),
        second_stage=CropSecondStage(head, crop_size=2),
        proposal_selection=ProposalSelection(max_proposals=8),
        proposal_sampling=ProposalSampling(batch_size=4),
        detection_selection=DetectionSelection(max_per_class=4, max_total=8),
        is_training=is_training,
    )


def example(index: int, height: int = 32, width: int = 32) -> dict[str, np.ndarray]:
    """Image number `index`: noise with a bright square that is its one object."""
    rng = np.random.RandomState(index)
    top, left = rng.uniform(0.0, 0.4, 2)
    image = rng.uniform(-1.0, 0.0, (height, width, 3)).astype(np.float32)
    image[int(top * height) : int((top + 0.5) * height), int(left * width) :][:, : width // 2] = 1.0
    boxes = np.zeros((3, 4), np.float32)
    boxes[0] = [top, left, top + 0.5, left + 0.5]
    return {
        Batch.inputs: image,
        Batch.true_image_shapes: np.array([height, width, 3], np.int32),
        Batch.image_id: np.array(str(index).encode(), object),
        Groundtruth.boxes: boxes,
        Groundtruth.classes: np.array([1 + index % 2, 0, 0], np.int32),
        Groundtruth.num_boxes: np.array(1, np.int32),
        Groundtruth.weights: np.array([1.0, 0.0, 0.0], np.float32),
    }


def batch(*indices: int, height: int = 32, width: int = 32) -> dict[str, tf.Tensor]:
    """A batch of images."""
    examples = [example(index, height, width) for index in indices]
    return {key: tf.constant(np.stack([e[key] for e in examples])) for key in examples[0]}


def dataset(batch_size: int, start_example: int = 0, num_examples: int = 12) -> tf.data.Dataset:
    """Endless batches in a fixed order, beginning where a resumed run needs it."""
    everything: dict[str, Any] = batch(*range(num_examples))
    images = tf.data.Dataset.from_tensor_slices(everything).repeat().skip(start_example)
    return images.batch(batch_size, drop_remainder=True)
