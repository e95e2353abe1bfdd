"""What to call the classes of a model: from a label map that travels with it or its config."""

from __future__ import annotations

import os
from typing import Any

from absl import logging

from object_detection_mtl.config import label_map, pipeline, samples
from object_detection_mtl.export import saved_model


def from_label_map(path: str) -> dict[int, str]:
    """Class number -> name to display.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is no label map.
    """
    return {category.id: category.display_name for category in label_map.load(path)}


def from_config(config: Any) -> dict[int, str]:
    """The names of a config's label map; empty where it is not on this machine."""
    path = find_label_map(config)
    return from_label_map(path) if path else {}


def from_saved_model(directory: str) -> dict[int, str]:
    """The names that were exported, else those of the pipeline.config beside the SavedModel.

    Args:
        directory: the one with saved_model.pb.
    """
    exported = os.path.join(directory, saved_model.LABEL_MAP)
    if os.path.exists(exported):
        return from_label_map(exported)
    config_path = os.path.join(os.path.dirname(os.path.abspath(directory)), saved_model.CONFIG_NAME)
    if not os.path.exists(config_path):
        return {}
    try:
        return from_config(pipeline.load(config_path))
    except ValueError as error:  # such as a config of another version: names are not worth a stop
        logging.warning("no class names from %s: %s", config_path, error)
        return {}


def find_label_map(config: Any) -> str | None:
    """The label map that a config's input readers name: of evaluation first, then of training.

    None, with a warning, where none of them is on this machine, and where none is named. A detector
    that only proposes boxes has one of its own, of one class: object.

    Args:
        config: a resolved TrainEvalPipelineConfig.
    """
    if config.model.faster_rcnn.number_of_stages == 1:
        return str(samples.path("object_label_map.pbtxt"))
    readers = [*config.eval_input_reader, config.train_input_reader]
    paths = list(dict.fromkeys(r.label_map_path for r in readers if r.label_map_path))
    for path in paths:
        if os.path.isfile(path):
            return path
    if paths:
        logging.warning(
            "the config's label map %s is not here; classes go by their numbers",
            " and ".join(paths),
        )
    return None
