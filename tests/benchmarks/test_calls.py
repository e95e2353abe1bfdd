"""What the benchmarks time is what an export computes."""

import pytest
import tensorflow as tf

from benchmarks import calls
from tests.models import tiny


def test_a_frozen_call_detects():
    config = tiny.config()
    image = tf.cast(tiny.images(1), tf.uint8)
    found = calls.frozen_inference(config, image, "float32")(image)
    most = config.model.faster_rcnn.second_stage_post_processing.batch_non_max_suppression
    assert found["detection_boxes"].shape == (1, most.max_total_detections, 4)


def test_a_training_step_of_as_many_parts_as_the_config_says():
    config = tiny.config("train_config.num_micro_batches=2")
    image = tiny.images(1, 32, 48)
    with pytest.raises(ValueError, match="num_micro_batches is 2, but it must divide the 1 images"):
        calls.training(config, image)
    graph = calls.training(config, image, num_images=2).get_concrete_function().graph
    assert any("While" in operation.type for operation in graph.get_operations())
