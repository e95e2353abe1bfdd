"""Metadata of an exported model: its origin and its classes."""

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

# Version of the file's layout, for readers.
FORMAT_VERSION = 1


def describe_export(
    *,
    config_text: str,
    checkpoint: str,
    num_classes: int,
    label_map_path: str | None,
    options: ExportOptions,
) -> dict[str, Any]:
    """Return the content of metadata.json.

    Args:
        config_text: The resolved config.
        checkpoint: Prefix of the checkpoint of the weights.
        num_classes: Without background.
        label_map_path: Label map with the class names; without one, classes are named by number.
        options: Options of the export.
    """
    return {
        "format_version": FORMAT_VERSION,
        "checkpoint": checkpoint,
        "export": dataclasses.asdict(options),
        "num_classes": num_classes,
        "class_names": names_of_classes(num_classes, label_map_path),
        "versions": {
            "object_detection_mtl": __version__,
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
        },
        "pipeline_config": config_text,
    }


def names_of_classes(num_classes: int, label_map_path: str | None) -> dict[str, str]:
    """Return the name of each class by its number, a text; without label map the number."""
    names = {str(number): str(number) for number in range(1, num_classes + 1)}
    if label_map_path:
        names |= {str(c.id): c.display_name for c in label_map.load(label_map_path)}
    return names


def write_metadata(description: Mapping[str, Any], path: str) -> None:
    """Write the description as JSON."""
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(description, indent=2, ensure_ascii=False) + "\n")
