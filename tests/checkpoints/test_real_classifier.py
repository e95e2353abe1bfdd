"""The ImageNet MobileNet on photographs, with its own classifier attached to a detector's stages.

Preprocessing, padding and batch norm at once: if one of them were wrong, its classes would be, too.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format
from PIL import Image

from object_detection_mtl.backbones.conv_batch_norm import ConvBatchNorm
from object_detection_mtl.builders import model_builder
from object_detection_mtl.checkpoints.checkpoint_search import open_checkpoint
from object_detection_mtl.checkpoints.restore import restore
from object_detection_mtl.dataset_tools import voc_xml
from object_detection_mtl.protos import model_pb2
from tests.checkpoints.test_slim import REAL_CHECKPOINT, SHARED

IMAGES = SHARED / "data/voc100"
# VOC class -> ImageNet classes (0-based, without background) that show it.
IMAGENET: dict[str, tuple[int, ...]] = {
    "aeroplane": (404, 895, 908),
    "bicycle": (444, 671),
    "bird": (*range(7, 25), *range(80, 101), *range(127, 147)),
    "boat": (403, 472, 484, 510, 554, 576, 625, 628, 693, 724, 780, 814, 833, 871, 914),
    "bus": (654, 779, 874),
    "cat": tuple(range(281, 288)),
    "cow": (345, 346, 347),
    "dog": tuple(range(151, 269)),
    "horse": (339, 340, 603),
    "sheep": (348, 349, 350),
    "train": (466, 547, 705, 820, 829),
}

pytestmark = pytest.mark.skipif(
    not (IMAGES.exists() and REAL_CHECKPOINT.with_suffix(".ckpt.index").exists()),
    reason="no real checkpoint or images here",
)


def images_of_one_object():
    """Path and class of every image whose largest object fills a third of it."""
    found = []
    for path in sorted((IMAGES / "Annotations").glob("*.xml")):
        annotation = voc_xml.parse_annotation(path)
        areas = {
            (box.ymax - box.ymin) * (box.xmax - box.xmin): box.name for box in annotation.objects
        }
        largest = max(areas)
        share = largest / (annotation.width * annotation.height)
        if share > 1 / 3 and areas[largest] in IMAGENET:
            found.append((IMAGES / "JPEGImages" / annotation.filename, areas[largest]))
    return found


def built_detector():
    config = text_format.Parse(
        """
        faster_rcnn {
          num_classes: 3
          image_resizer { fixed_shape_resizer { height: 224 width: 224 } }
          feature_extractor { type: "faster_rcnn_mobilenet_v1" }
          first_stage_anchor_generator {
            grid_anchor_generator { scales: 1.0 aspect_ratios: 1.0 }
          }
          initial_crop_size: 7
          maxpool_kernel_size: 1
          maxpool_stride: 1
          second_stage_box_predictor { mask_rcnn_box_predictor {} }
        }
        """,
        model_pb2.DetectionModel(),
    )
    return model_builder.build(config, is_training=False)


def own_last_layers(checkpoint):
    """What follows the detector's first stage in the classifier, as the classifier has it."""
    layers = []
    for name, depthwise, strides, channels in (
        ("Conv2d_12_depthwise", True, 2, 512),
        ("Conv2d_12_pointwise", False, 1, 512),
        ("Conv2d_13_depthwise", True, 1, 1024),
        ("Conv2d_13_pointwise", False, 1, 1024),
    ):
        layer = ConvBatchNorm(
            None if depthwise else 1024,
            3 if depthwise else 1,
            strides=strides,
            depthwise=depthwise,
            activation=tf.nn.relu6,
        )
        layer.build((None, None, None, channels))
        for suffix, variable in layer.tf_slim_variables().items():
            variable.assign(checkpoint.read(f"MobilenetV1/{name}/{suffix}"))
        layers.append(layer)
    return keras.Sequential(layers)


def hits(logits, names, best):
    """Share of images with a class that shows the object among the `best` first."""
    order = np.argsort(-logits, axis=-1)[:, :best] - 1  # Class 0 is the background.
    return np.mean([bool(set(row) & set(IMAGENET[n])) for row, n in zip(order, names, strict=True)])


@pytest.mark.slow
def test_it_classifies_photographs():
    files, names = zip(*images_of_one_object(), strict=True)
    assert len(files) >= 20
    detector = built_detector()
    restore(detector, REAL_CHECKPOINT, checkpoint_type="classification", verbose=False)
    checkpoint = open_checkpoint(REAL_CHECKPOINT)
    logits = "MobilenetV1/Logits/Conv2d_1c_1x1"
    weights, biases = (checkpoint.read(f"{logits}/{leaf}") for leaf in ("weights", "biases"))

    def classify(inputs, last_layers):
        features = last_layers(detector.backbone.stage1(inputs))
        return (tf.reduce_mean(features, axis=[1, 2]) @ weights[0, 0] + biases).numpy()

    images = [np.asarray(Image.open(file).convert("RGB"))[np.newaxis] for file in files]
    inputs = tf.concat([detector.preprocess(image)[0] for image in images], axis=0)
    own_layers = own_last_layers(checkpoint)
    own = classify(inputs, own_layers)
    assert hits(own, names, best=1) > 0.6
    assert hits(own, names, best=5) > 0.85
    # The second stage has one batch norm where the classifier has two, and still comes close.
    second_stage = classify(inputs, detector.second_stage.head.stage2)
    assert hits(second_stage, names, best=5) > 0.6
    # Images in 0..255 are recognized worse.
    wrong = classify((inputs + 1.0) * 127.5, own_layers)
    assert hits(wrong, names, best=5) < 0.2
