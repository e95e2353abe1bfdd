"""From data_augmentation_options to augmentations."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_mtl.builders import augmentation_builder
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.protos import preprocessor_pb2


def step(text):
    return text_format.Parse(text, preprocessor_pb2.PreprocessingStep())


def flips(augmentation, number=40):
    example = {
        "image": tf.constant([[[1, 1, 1], [2, 2, 2]]], tf.uint8),
        Groundtruth.boxes: tf.zeros([0, 4]),
    }
    seeds = tf.data.Dataset.range(number).map(lambda index: tf.stack([1, tf.cast(index, tf.int32)]))
    images = seeds.map(lambda seed: augmentation(example, seed)["image"])
    return sum(int(image[0, 0, 0] == 2) for image in images)


def test_random_horizontal_flip_with_and_without_a_probability():
    assert 8 < flips(augmentation_builder.build(step("random_horizontal_flip {}"))) < 32
    always = augmentation_builder.build(step("random_horizontal_flip { probability: 1 }"))
    assert flips(always) == 40


def test_steps_keep_their_order_and_number():
    steps = [step("random_horizontal_flip { probability: 1 }")] * 2
    built = augmentation_builder.build_all(steps)
    assert len(built) == 2
    np.testing.assert_equal([flips(item, 3) for item in built], [3, 3])
    assert augmentation_builder.build_all([]) == ()


@pytest.mark.parametrize("name", ["random_adjust_hue", "ssd_random_crop", "autoaugment_image"])
def test_what_is_not_supported_is_named_with_what_is(name):
    says = f"data_augmentation_options: {name} is not supported; supported are: random_horizontal"
    with pytest.raises(ValueError, match=says):
        augmentation_builder.build(step(f"{name} {{}}"))


def test_every_supported_name_is_a_step_of_the_schema():
    fields = preprocessor_pb2.PreprocessingStep.DESCRIPTOR.fields_by_name
    assert set(augmentation_builder.supported_steps()) <= set(fields)


def test_an_empty_step_and_a_bad_value_are_errors():
    with pytest.raises(ValueError, match="an empty step"):
        augmentation_builder.build(step(""))
    with pytest.raises(ValueError, match="data_augmentation_options.*probability is 2.0"):
        augmentation_builder.build(step("random_horizontal_flip { probability: 2 }"))
