import pytest
from google.protobuf import text_format

from object_detection_mtl.builders import augmentation_builder, label_builder
from object_detection_mtl.mtl.closeness_task import ClosenessLabels
from object_detection_mtl.mtl.foreground_task import ForegroundLabels
from object_detection_mtl.mtl.task_labels import TaskLabelMaker
from object_detection_mtl.mtl.window_task import WindowLabels
from object_detection_mtl.protos import model_pb2, preprocessor_pb2


def build(text):
    text = f"faster_rcnn {{ num_classes: 7 }} mtl {{ {text} }}"
    return label_builder.build(text_format.Parse(text, model_pb2.DetectionModel()))


def steps(*names):
    return [text_format.Parse(name + " {}", preprocessor_pb2.PreprocessingStep()) for name in names]


def test_a_baseline_makes_no_labels():
    assert build("") is None
    assert build("refine: true refine_residue: true") is None


def test_the_authors_values_are_the_defaults():
    expected = TaskLabelMaker((WindowLabels(), ClosenessLabels(), ForegroundLabels()), 7)
    assert build("window: true closeness: true edgemask: true") == expected


def test_every_field_arrives():
    maker = build(
        "window: true edgemask: true label_source: RECORD num_windows: 3 edgemask_size: 5 "
        "window_label_transform: AREA window_source: OBJECTS "
        "labels_from_crowd: false labels_from_difficult: false"
    )
    assert maker == TaskLabelMaker(
        (
            WindowLabels(num_windows=3, transform="AREA", source="OBJECTS"),
            ForegroundLabels(mask_size=5),
        ),
        7,
        from_records=True,
        from_crowd=False,
        from_difficult=False,
    )


def test_stored_labels_refuse_what_would_make_them_stale():
    stored = build("edgemask: true label_source: RECORD")
    moving = {
        "random_vertical_flip",
        "random_rotation90",
        "random_jitter_boxes",
        "autoaugment_image",
        "random_crop_image",
        "random_pad_image",
        "random_crop_pad_image",
        "ssd_random_crop",
        "random_square_crop_by_scale",
        "random_absolute_pad_image",
        "random_crop_to_aspect_ratio",
        "random_scale_crop_and_pad_to_square",
        "random_self_concat_image",
        "ssd_random_crop_fixed_aspect_ratio",
        "ssd_random_crop_pad",
        "ssd_random_crop_pad_fixed_aspect_ratio",
        # They change the objects.
        "drop_label_probabilistically",
        "remap_labels",
    }
    harmless = set(augmentation_builder.supported_steps()) - moving
    assert len(harmless) == len(augmentation_builder.supported_steps()) - len(moving)
    label_builder.check_augmentation(stored, steps(*harmless))
    for name in moving:
        with pytest.raises(ValueError, match=f"{name} would invalidate the labels.*ON_THE_FLY"):
            label_builder.check_augmentation(stored, steps("random_horizontal_flip", name))
        for options in (None, build("edgemask: true")):
            label_builder.check_augmentation(options, steps(name))
