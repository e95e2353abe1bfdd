"""What an exported model says about itself: where it comes from, and what its classes are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl import __version__
from object_detection_mtl.config import label_map
from object_detection_mtl.export.export_options import ExportOptions

# Of the file's layout; a reader that finds another one should look twice.
FORMAT_VERSION = 1


def describe(
    *,
    config_text: str,
    checkpoint: str,
    num_classes: int,
    label_map_path: str | None,
    options: ExportOptions,
) -> dict[str, Any]:
    """What goes into metadata.json.

    Args:
        config_text: the resolved configuration.
        checkpoint: prefix of the checkpoint that the weights are from.
        num_classes: without background.
        label_map_path: gives the classes their names; without one they go by their numbers.
        options: of the export.
    """
    names = {str(number): str(number) for number in range(1, num_classes + 1)}
    if label_map_path:
        names |= {str(c.id): c.display_name for c in label_map.load(label_map_path)}
    return {
        "format_version": FORMAT_VERSION,
        "checkpoint": checkpoint,
        "export": dataclasses.asdict(options),
        "num_classes": num_classes,
        "class_names": names,
        "versions": {
            "object_detection_mtl": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        "pipeline_config": config_text,
    }


def write(description: Mapping[str, Any], path: str) -> None:
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(description, indent=2, ensure_ascii=False) + "\n")
