"""`DetectionModel` -> the labels that the input pipeline makes for the auxiliary tasks."""

from __future__ import annotations

from collections.abc import Iterable

from object_detection_mtl.builders import mtl_builder
from object_detection_mtl.mtl.task_labels import TaskLabelMaker
from object_detection_mtl.protos import model_pb2, preprocessor_pb2

# Steps that keep stored labels valid: colors, scale, and the flip, which mirrors them too.
_HARMLESS = (
    "random_horizontal_flip",
    "random_image_scale",
    "random_adjust_brightness",
    "random_adjust_contrast",
    "random_adjust_hue",
    "random_adjust_saturation",
    "random_distort_color",
    "random_rgb_to_gray",
    "random_black_patches",
    "random_pixel_value_scale",
    "rgb_to_gray",
    "adjust_gamma",
    "random_jpeg_quality",
    "random_patch_gaussian",
    "resize_image",
    "random_resize_method",
    "random_downscale_to_target_pixels",
)


def build(config: model_pb2.DetectionModel) -> TaskLabelMaker | None:
    """Return the maker of the enabled tasks' labels; None for a baseline.

    Args:
        config: resolved.

    Raises:
        ValueError: records cannot store the labels of an enabled task, but are to supply them.
    """
    mtl = config.mtl
    tasks = {
        field: entry.build_labels(mtl) for field, entry in mtl_builder.enabled_tasks(mtl).items()
    }
    if not tasks:
        return None
    from_records = mtl.label_source == model_pb2.MTL.RECORD
    not_stored = [field for field, labels in tasks.items() if not labels.stored]
    if from_records and not_stored:
        raise ValueError(
            f"mtl: label_source is RECORD, but records cannot store labels of "
            f"{', '.join(not_stored)}; set label_source: ON_THE_FLY"
        )
    return TaskLabelMaker(
        tuple(tasks.values()),
        config.faster_rcnn.num_classes,
        from_records=from_records,
        from_crowd=mtl.labels_from_crowd,
        from_difficult=mtl.labels_from_difficult,
    )


def check_augmentation(
    labels: TaskLabelMaker | None, steps: Iterable[preprocessor_pb2.PreprocessingStep]
) -> None:
    """Raise an error for augmentation that would make stored labels stale.

    Args:
        labels: result of `build`.
        steps: the `train_config.data_augmentation_options`.

    Raises:
        ValueError: labels come from the records and a step changes the image in another way than
            the stored labels.
    """
    if labels is None or not labels.from_records:
        return
    for step in steps:
        name = step.WhichOneof("preprocessing_step")
        if name not in _HARMLESS:
            raise ValueError(
                f"train_config.data_augmentation_options: {name} would invalidate the labels that "
                "the records store (mtl { label_source: RECORD }); allowed are "
                f"{', '.join(_HARMLESS)}. Remove the step, or set label_source: "
                "ON_THE_FLY, which makes labels after augmentation"
            )
