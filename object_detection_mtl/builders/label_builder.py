"""`MTL` -> which labels the input pipeline adds for the auxiliary tasks."""

from __future__ import annotations

from collections.abc import Iterable

from object_detection_mtl.data.auxiliary_labels import LabelOptions
from object_detection_mtl.protos import model_pb2, preprocessor_pb2

# Steps that leave stored labels true: colours, scale, and the flip, which mirrors them too.
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
)


def build(config: model_pb2.MTL) -> LabelOptions | None:
    """The labels that the tasks which are on need; None if none is."""
    if not (config.window or config.closeness or config.edgemask):
        return None
    return LabelOptions(
        windows=config.window,
        closeness=config.closeness,
        foreground=config.edgemask,
        from_records=config.label_source == model_pb2.MTL.RECORD,
        num_windows=config.num_windows,
        mask_size=config.edgemask_size,
        transform=model_pb2.MTL.WindowLabelTransform.Name(config.window_label_transform),
        from_crowd=config.labels_from_crowd,
        from_difficult=config.labels_from_difficult,
    )


def check_augmentation(
    options: LabelOptions | None, steps: Iterable[preprocessor_pb2.PreprocessingStep]
) -> None:
    """Refuses augmentation that would make stored labels stale.

    Raises:
      ValueError: labels come from the records and a step is none that they can follow.
    """
    if options is None or not options.from_records:
        return
    for step in steps:
        name = step.WhichOneof("preprocessing_step")
        if name not in _HARMLESS:
            raise ValueError(
                f"train_config.data_augmentation_options: {name} would make the labels stale that "
                "the records store (mtl { label_source: RECORD }); with these they stay true: "
                f"{', '.join(_HARMLESS)}. Remove the step, or set label_source: "
                "ON_THE_FLY, which makes labels after augmentation"
            )
