"""What the benchmarks time is what an export computes."""

import tensorflow as tf

from benchmarks import calls
from tests.models import tiny


def test_a_frozen_call_detects():
    config = tiny.config()
    image = tf.cast(tiny.images(1), tf.uint8)
    found = calls.frozen_inference(config, image, "float32")(image)
    most = config.model.faster_rcnn.second_stage_post_processing.batch_non_max_suppression
    assert found["detection_boxes"].shape == (1, most.max_total_detections, 4)
