"""Formats of an export directory, which holds one model.

A directory may have the same model in several formats, so that a program finds the one for its
runtime. An export of another model removes the formats that it does not write.
"""

from __future__ import annotations

import html
import json
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from object_detection_mtl.export.export_options import ONNX, OPENVINO, SAVED_MODEL
from object_detection_mtl.export.formats import onnx_conversion, openvino_conversion

CONFIG_NAME = "pipeline.config"
CHECKPOINT_NAME = "checkpoint"
SAVED_MODEL_NAME = "saved_model"
METADATA = os.path.join("assets", "metadata.json")
# Format -> names of the model's files and directories.
FILES = {
    SAVED_MODEL: (SAVED_MODEL_NAME,),
    ONNX: onnx_conversion.FILES,
    OPENVINO: openvino_conversion.FILES,
}
CHECKPOINT_NUMBER = 0
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"


def outdated_files(
    old: str, new: str, new_format: str, class_names: Mapping[str, str]
) -> list[str]:
    """Return the files of other formats in an export directory that hold another model.

    Models are the same if weights, pipeline.config and class names are equal. Input type and
    precision may differ.

    Args:
        old: the export directory; it may be missing.
        new: directory with the complete new export.
        new_format: format of the new export.
        class_names: class number, as text, -> name in the new export.
    """
    others = {
        other: [name for name in names if tf.io.gfile.exists(os.path.join(old, name))]
        for other, names in FILES.items()
        if other != new_format
    }
    if not any(others.values()):
        return []
    is_same = _same_config(old, new) and _same_weights(old, new)
    return [
        name
        for other, names in others.items()
        if names and not (is_same and has_class_names(old, other, class_names))
        for name in names
    ]


def _same_config(old: str, new: str) -> bool:
    try:
        return _read(os.path.join(old, CONFIG_NAME)) == _read(os.path.join(new, CONFIG_NAME))
    except tf.errors.OpError:
        return False


def _same_weights(old: str, new: str) -> bool:
    name = os.path.join(CHECKPOINT_NAME, f"ckpt-{CHECKPOINT_NUMBER}")
    try:
        first, second = (tf.train.load_checkpoint(os.path.join(d, name)) for d in (old, new))
        names = set(first.get_variable_to_shape_map())
        if names != set(second.get_variable_to_shape_map()):
            return False
        return all(
            _bytes(first.get_tensor(name)) == _bytes(second.get_tensor(name))
            for name in names - {_OBJECT_GRAPH}
        )
    except (tf.errors.OpError, ValueError, RuntimeError):
        return False  # Missing or damaged: nothing says that it is the same model.


def _bytes(values: Any) -> bytes:
    return values.tobytes() if hasattr(values, "tobytes") else bytes(values)


def has_class_names(directory: str, model_format: str, class_names: Mapping[str, str]) -> bool:
    """Return whether an export has these class names; False if it is missing or corrupt.

    Args:
        directory: of the export.
        model_format: a key of `FILES`.
        class_names: class number, as a text -> name.
    """
    try:
        if model_format == SAVED_MODEL:
            metadata = json.loads(_read(os.path.join(directory, SAVED_MODEL_NAME, METADATA)))
            return metadata["class_names"] == class_names
        # The metadata are a text inside of the file, which needs no runtime to be found.
        content = _read(os.path.join(directory, FILES[model_format][0]))
    except (tf.errors.OpError, ValueError, KeyError, TypeError):
        return False
    wanted = json.dumps(class_names)
    texts = (wanted, html.escape(wanted), html.escape(wanted, quote=False))
    return any(text.encode() in content for text in texts)


def _read(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()
