"""Supported checkpoint formats, in the order in which they are tested."""

from __future__ import annotations

import os
from collections.abc import Collection

from object_detection_mtl.checkpoints import (
    keras_applications,
    native,
    odapi_tf2,
    slim,
    tf1_detection,
)
from object_detection_mtl.checkpoints.checkpoint_files import CheckpointFile
from object_detection_mtl.checkpoints.checkpoint_search import open_checkpoint
from object_detection_mtl.checkpoints.restore_plan import CheckpointSource, network_of
from object_detection_mtl.checkpoints.restore_report import first_names

SOURCES: tuple[CheckpointSource, ...] = (
    keras_applications.SOURCE,
    native.SOURCE,
    odapi_tf2.DETECTOR,
    odapi_tf2.BACKBONE,
    tf1_detection.SOURCE,
    slim.SOURCE,
)


def open_any(path: str | os.PathLike[str], names: Collection[str] = ()) -> CheckpointFile:
    """Open what a path means: a checkpoint, or Keras weights.

    Args:
        path: as a user typed it.
        names: names of the variables of the detector; required for "imagenet" only.

    Raises:
        FileNotFoundError, ValueError: there is no readable checkpoint.
    """
    if keras_applications.is_keras(path):
        return keras_applications.open_weights(path, network_of(names) if names else "")
    return open_checkpoint(path)


def source_of(checkpoint: CheckpointFile) -> CheckpointSource:
    """Return the kind of a checkpoint.

    Raises:
        ValueError: the kind is unknown; the message names some variables.
    """
    for source in SOURCES:
        if source.recognizes(checkpoint):
            return source
    if any(key.startswith("model/_feature_extractor/") for key in checkpoint.shapes):
        raise ValueError(
            f"checkpoint {checkpoint.prefix!r} looks like an SSD or CenterNet of the Object "
            "Detection API; its feature extractor does not fit Faster R-CNN or R-FCN"
        )
    kind = "object-based" if checkpoint.is_object_based else "name-based"
    raise ValueError(
        f"checkpoint {checkpoint.prefix!r} ({kind}, variables such as "
        f"{first_names(sorted(checkpoint.shapes))}) is of an unknown kind; supported are "
        f"{'; '.join(source.title for source in SOURCES)}"
    )
