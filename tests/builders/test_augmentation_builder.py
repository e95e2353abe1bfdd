"""From data_augmentation_options to augmentations."""

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from object_detection_mtl.builders import augmentation_builder
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.protos import preprocessor_pb2
from tests.data.augmented import in_pipeline


def step(text):
    return text_format.Parse(text, preprocessor_pb2.PreprocessingStep())


def flips(augmentation, number=40):
    example = {
        "image": tf.constant([[[1, 1, 1], [2, 2, 2]]], tf.uint8),
        Groundtruth.boxes: tf.zeros([0, 4]),
    }
    seeds = tf.data.Dataset.range(number).map(lambda index: tf.stack([1, tf.cast(index, tf.int32)]))
    images = in_pipeline(seeds, lambda seed: augmentation(example, seed)["image"])
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


STEPS = set(preprocessor_pb2.PreprocessingStep.DESCRIPTOR.fields_by_name)


@pytest.mark.parametrize("name", sorted(STEPS - set(augmentation_builder.supported_steps())))
def test_an_unsupported_step_is_an_error_that_lists_the_supported_ones(name):
    says = f"data_augmentation_options: {name} is not supported(; supported are: random_hor|: .*)"
    with pytest.raises(ValueError, match=says):
        augmentation_builder.build(step(f"{name} {{}}"))


def test_every_supported_name_is_a_step_of_the_schema():
    assert set(augmentation_builder.supported_steps()) <= STEPS


def test_an_empty_step_and_a_bad_value_are_errors():
    with pytest.raises(ValueError, match="an empty step"):
        augmentation_builder.build(step(""))
    with pytest.raises(ValueError, match="data_augmentation_options.*probability is 2.0"):
        augmentation_builder.build(step("random_horizontal_flip { probability: 2 }"))


def image():
    rng = np.random.RandomState(0)
    return {
        "image": tf.constant(rng.randint(0, 256, (40, 60, 3)), tf.uint8),
        Groundtruth.boxes: tf.constant([[0.2, 0.2, 0.8, 0.8]]),
        Groundtruth.classes: tf.constant([1]),
    }


# Fields without a useful default.
REQUIRED = {
    "drop_label_probabilistically": "label: 1",
    "random_resize_method": "target_height: 20 target_width: 30",
    "remap_labels": "original_labels: 1 new_label: 2",
    "resize_image": "new_height: 20 new_width: 30",
}


def test_values_of_a_step_reach_the_augmentation():
    def result(text):
        return augmentation_builder.build(step(text))(image(), tf.constant([1, 2]))

    assert result("resize_image { new_height: 5 new_width: 9 }")["image"].shape == [5, 9, 3]
    square = result("random_scale_crop_and_pad_to_square { output_size: 33 }")
    assert square["image"].shape == [33, 33, 3]
    remapped = result("remap_labels { original_labels: [3, 1] new_label: 7 }")
    assert remapped[Groundtruth.classes].numpy().tolist() == [7]
    padded = result(
        "ssd_random_crop_pad { operations { max_aspect_ratio: 1 min_aspect_ratio: 1 min_area: 1 "
        "max_area: 1 random_coef: 1 min_padded_size_ratio: [2, 2] max_padded_size_ratio: [2, 2] "
        "pad_color_r: 9 } }"
    )
    assert padded["image"].shape == [80, 120, 3]
    with pytest.raises(ValueError, match=r"ssd_random_crop_pad: min_padded_size_ratio is \[1.0\]"):
        result(
            "ssd_random_crop_pad { operations { max_aspect_ratio: 1 min_aspect_ratio: 1 "
            "min_area: 1 max_area: 1 min_padded_size_ratio: 1 } }"
        )


@pytest.mark.parametrize("name", augmentation_builder.supported_steps())
def test_every_supported_step_works_with_its_defaults(name):
    """In a graph, as the pipeline calls it."""
    augmentation = augmentation_builder.build(step(f"{name} {{ {REQUIRED.get(name, '')} }}"))
    seeds = tf.data.Dataset.from_tensors(tf.constant([3, 4]))
    [result] = in_pipeline(seeds, lambda seed: augmentation(image(), seed))
    assert result["image"].dtype == tf.uint8
    assert result["image"].shape[-1] == 3
    boxes = result[Groundtruth.boxes].numpy()
    assert len(boxes) == len(result[Groundtruth.classes])
    assert (boxes >= 0).all()
    assert (boxes <= 1).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()


def shape(text):
    return augmentation_builder.build(step(text))(image(), tf.constant([1, 2]))["image"].shape


def test_fields_arrive():
    assert shape("random_image_scale { min_scale_ratio: 2 max_scale_ratio: 2 }") == (80, 120, 3)
    pad = "min_image_height: 50 min_image_width: 70 max_image_height: 50 max_image_width: 70"
    assert shape(f"random_pad_image {{ {pad} }}") == (50, 70, 3)
    ratio = "min_padded_size_ratio: [2, 3] max_padded_size_ratio: [2, 3]"
    assert shape(f"random_crop_pad_image {{ {ratio} }}") == (80, 180, 3)
    square = "scale_min: 0.5 scale_max: 0.5 num_scales: 1"
    assert shape(f"random_square_crop_by_scale {{ {square} }}") == (30, 30, 3)
    assert shape("random_crop_image { random_coef: 1 }") == (40, 60, 3)
    whole = "operations { min_aspect_ratio: 1 max_aspect_ratio: 2 min_area: 1 max_area: 1 }"
    assert shape(f"ssd_random_crop {{ {whole} }}") == (40, 60, 3)
    assert shape("random_rotation90 { probability: 1 }") == (60, 40, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("random_pad_image { min_image_height: 9 }", "give both min_image_height and"),
        ("random_pad_image { pad_color: [1, 2] }", "pad_color is .*expected red, green and blue"),
        ("random_crop_pad_image { min_padded_size_ratio: 1 }", "expected two values"),
        ("random_crop_image { min_area: 0 }", "area_range is 0 to 1, expected 0 < minimum"),
        ("random_crop_image { overlap_thresh: 2 }", "overlap_thresh of a random crop"),
        ("random_distort_color { color_ordering: 2 }", "color_ordering is 2, expected 0 or 1"),
        ("random_adjust_hue { max_delta: 0.7 }", "max_delta is 0.7.*expected 0 to 0.5"),
        ("random_adjust_contrast { min_delta: 2 }", "min_delta is 2 and max_delta 1.25"),
        ("random_jitter_boxes { ratio: 1 }", "ratio is 1.0.*expected at least 0 and less than 1"),
        ("random_image_scale { min_scale_ratio: 0 }", "expected 0 < min_scale_ratio"),
        ("random_square_crop_by_scale { num_scales: 0 }", "positive whole numbers"),
        ("random_black_patches { max_black_patches: -1 }", "expected 0 or more"),
    ],
)
def test_values_out_of_range_are_named(text, message):
    with pytest.raises(ValueError, match="data_augmentation_options: .*" + message):
        augmentation_builder.build(step(text))
