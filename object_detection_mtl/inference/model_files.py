"""Files of a trained model: SavedModel, exported checkpoint, class names."""

from __future__ import annotations

import os
from typing import Any

import tensorflow as tf
from absl import logging

from object_detection_mtl.config import label_map, pipeline, samples
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.runtimes import runtime_models

SAVED_MODEL_FILE = "saved_model.pb"
# Begins paths in the sample configurations.
_PLACEHOLDER = "PATH/"


def find_saved_model(directory: str) -> str:
    """Return the directory with saved_model.pb: `directory` or its subdirectory saved_model.

    Raises:
        FileNotFoundError: Neither has the file.
    """
    for candidate in (directory, os.path.join(directory, saved_model.SAVED_MODEL_NAME)):
        if tf.io.gfile.exists(os.path.join(candidate, SAVED_MODEL_FILE)):
            return candidate
    reason = (
        f"it has no {SAVED_MODEL_FILE}"
        if tf.io.gfile.isdir(directory)
        else "the directory does not exist"
    )
    raise FileNotFoundError(
        f"no SavedModel in {directory!r}: {reason}; give the directory saved_model that "
        "exporter_main_v2 wrote"
    )


def find_exported_checkpoint(saved_model_directory: str) -> tuple[str, str]:
    """Return the paths of pipeline.config and checkpoint that were exported with a SavedModel.

    Raises:
        FileNotFoundError: One of them is missing.
    """
    above = os.path.dirname(os.path.abspath(saved_model_directory))
    paths = (
        os.path.join(above, saved_model.CONFIG_NAME),
        os.path.join(above, saved_model.CHECKPOINT_NAME),
    )
    missing = [path for path in paths if not os.path.exists(path)]
    if missing:
        raise FileNotFoundError(
            "engines other than TensorFlow need the checkpoint that SavedModel "
            f"{saved_model_directory!r} was exported from; missing: {' and '.join(missing)}. "
            "Export for the engine (exporter_main_v2 --format) and give --exported_model"
        )
    return paths


def names_from_label_map(path: str) -> dict[int, str]:
    """Return class number -> display name.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is not a label map.
    """
    return {category.id: category.display_name for category in label_map.load(path)}


def names_from_config(config: Any) -> dict[int, str]:
    """Return the class names of a config's label map; empty if it is not on this machine."""
    path = find_label_map(config)
    return names_from_label_map(path) if path else {}


def names_from_saved_model(directory: str) -> dict[int, str]:
    """Return the exported class names, else those of the pipeline.config beside the SavedModel.

    Args:
        directory: The directory with saved_model.pb.
    """
    exported = os.path.join(directory, saved_model.LABEL_MAP)
    if os.path.exists(exported):
        return names_from_label_map(exported)
    config_path = os.path.join(os.path.dirname(os.path.abspath(directory)), saved_model.CONFIG_NAME)
    if not os.path.exists(config_path):
        return {}
    try:
        return names_from_config(pipeline.load(config_path))
    except ValueError as error:  # For example a config of another version.
        logging.warning("no class names from %s: %s", config_path, error)
        return {}


def names_from_exported_model(path: str) -> dict[int, str]:
    """Return the class names in the metadata of a model.xml or model.onnx."""
    names = runtime_models.read_metadata(path).get("class_names", {})
    return {int(number): name for number, name in names.items()}


def find_label_map(config: Any) -> str | None:
    """Return the label map of a config's input readers: of evaluation, else of training.

    A detector that only proposes boxes has the package's label map of one class, object.

    Args:
        config: A resolved TrainEvalPipelineConfig.

    Returns:
        The path; None if no label map is configured, or, with a warning, if none is on this
        machine.
    """
    if config.model.faster_rcnn.number_of_stages == 1:
        return str(samples.path("object_label_map.pbtxt"))
    readers = [*config.eval_input_reader, config.train_input_reader]
    given = dict.fromkeys(reader.label_map_path for reader in readers)
    paths = [path for path in given if path and not path.startswith(_PLACEHOLDER)]
    for path in map(os.path.expanduser, paths):
        if os.path.isfile(path):
            return path
    if paths:
        logging.warning(
            "the config's label map %s does not exist on this machine; classes are named by number",
            " and ".join(paths),
        )
    return None
