"""`MTL` -> which labels the input pipeline adds for the auxiliary tasks."""

from __future__ import annotations

from collections.abc import Iterable

from object_detection_mtl.data.auxiliary_labels import LabelOptions
from object_detection_mtl.protos import model_pb2, preprocessor_pb2

# Stored labels can follow these.
_FOLLOWED = ("random_horizontal_flip",)


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
        if name not in _FOLLOWED:
            raise ValueError(
                f"train_config.data_augmentation_options: {name} would change the picture under "
                "the labels that the records store (mtl { label_source: RECORD }); only "
                f"{', '.join(_FOLLOWED)} can be followed. Remove the step, or set label_source: "
                "ON_THE_FLY, which makes labels after augmentation"
            )
