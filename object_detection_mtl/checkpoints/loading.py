"""Load all weights of a detector, or fail."""

from __future__ import annotations

import os
from typing import Any

from object_detection_mtl.checkpoints import (
    checkpoint_files,
    checkpoint_search,
    native,
    restore,
    tf1_detection,
)
from object_detection_mtl.checkpoints.checkpoint_sources import source_of


def load_detector_weights(
    detector: Any, checkpoint_path: str | os.PathLike[str], *, use_moving_averages: bool = False
) -> restore.RestoreReport:
    """Assign every variable of a detector.

    Args:
        detector: a `TwoStageDetector`.
        checkpoint_path: prefix of a detector's checkpoint, or a directory, which means its newest.
        use_moving_averages: load the averages that training kept. An exported checkpoint has none;
            its weights are those that the export chose.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the checkpoint is a classifier's, of another model, or corrupt; training kept
            no averages.

    Returns:
        Which variables were loaded.
    """
    checkpoint = checkpoint_search.open_checkpoint(checkpoint_path)
    source = source_of(checkpoint)
    if not source.is_detector(checkpoint):
        raise ValueError(
            f"checkpoint {checkpoint.prefix!r} is a {source.title} "
            f"({', '.join(sorted(source.networks(checkpoint)))}): training can start from it, but "
            "it cannot detect. Give the checkpoint of a trained detector"
        )
    if native.is_native(checkpoint):
        _require_all(checkpoint, detector)
    return restore.restore(
        detector,
        checkpoint.prefix,
        checkpoint_type=restore.FULL,
        use_moving_averages=use_moving_averages and _is_of_training(checkpoint),
        verbose=False,
    )


def _is_of_training(checkpoint: checkpoint_files.CheckpointFile) -> bool:
    """Return whether a checkpoint contains more than weights, unlike an exported one."""
    return any(
        key.startswith("optimizer/") or tf1_detection.OF_TRAINING.search(key)
        for key in checkpoint.shapes
    )


def _require_all(checkpoint: checkpoint_files.CheckpointFile, detector: Any) -> None:
    names = native.named_variables(detector)
    missing = sorted(
        name
        for name in names
        if not name.startswith(f"{native.UNNAMED_SCOPE}/")
        and native.checkpoint_key(native.MODEL_ROOT, name) not in checkpoint.shapes
    )
    if not missing:
        return
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    raise ValueError(
        f"checkpoint {checkpoint.prefix!r} lacks {len(missing)} of the model's {len(names)} "
        f"variables: {', '.join(missing[:3])}{more}. "
        f"{_likeness(native.networks(checkpoint), detector.backbone.scope)} Give the config "
        "that the checkpoint was trained with"
    )


def _likeness(in_file: set[str], in_config: str) -> str:
    """Return which model the file looks like."""
    if in_config in in_file:
        return f"Its feature extractor, {in_config}, is the config's; other parts differ."
    return (
        f"It looks like a detector with {', '.join(sorted(in_file))}; the config describes one "
        f"with {in_config}."
    )
