"""New detectors, from a configuration or a type."""

from __future__ import annotations

import os
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from object_detection_mtl.api import config_loading, detector_templates
from object_detection_mtl.api.detector import Detector
from object_detection_mtl.config import pipeline
from object_detection_mtl.config.errors import ConfigError, suggestion

if TYPE_CHECKING:
    from object_detection_mtl.protos.pipeline_pb2 import TrainEvalPipelineConfig


def build_detector(
    config: TrainEvalPipelineConfig | str | os.PathLike[str],
    *,
    num_classes: int | None = None,
    tasks: Collection[str] = (),
    refine: bool = False,
    class_names: Mapping[int, str] | Sequence[str] | None = None,
    fine_tune_checkpoint: str | os.PathLike[str] | None = None,
    seed: int | None = None,
) -> Detector:
    """Return a new detector with random weights, of a configuration or a type.

    `train_detector` trains it; from its configuration's `fine_tune_checkpoint` if there is one.

    Args:
        config: a configuration (of `load_config`); the name of a sample or the path of a
            pipeline.config; or the type of a detector, such as "faster_rcnn_mobilenet_v1" or
            "rfcn_resnet101", which has the settings of the sample configuration of this type.
        num_classes: number of classes, without background. Default: that of the configuration; a
            type needs it, or `class_names`.
        tasks: of a type: auxiliary tasks, some of "window", "closeness", "foreground" and those
            that `register_task` has added.
        refine: of a type: let the auxiliary predictions refine the class scores.
        class_names: names of the classes 1, 2, ..., or number -> name. Default: the label map of
            the configuration.
        fine_tune_checkpoint: checkpoint of a classifier or detector that training starts with;
            "imagenet" for a type of `keras.applications`.
        seed: seed of the first weights and of the training.

    Returns:
        The detector.

    Raises:
        FileNotFoundError: there is no such sample or file.
        ConfigError: (a ValueError) a value is wrong; the message names it.

    Example:
        >>> import object_detection_mtl as odm
        >>> detector = odm.build_detector(
        ...     "faster_rcnn_mobilenet_v1", class_names=["cat", "dog"], tasks=["closeness"])
        >>> detector.class_names
        {1: 'cat', 2: 'dog'}
        >>> [task.name for task in detector.model.aux_tasks]
        ['closeness']
    """
    names = class_numbers(class_names)
    if num_classes is None and names:
        num_classes = max(names)
    settings = {
        "num_classes": num_classes,
        "fine_tune_checkpoint": fine_tune_checkpoint,
        "seed": seed,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    resolved = _resolve_config(config, given, tasks, refine)
    return detector_of_config(resolved, names or None)


def class_numbers(class_names: Mapping[int, str] | Sequence[str] | None) -> dict[int, str]:
    """Return class number -> name; the classes of a sequence are numbered from 1.

    Raises:
        ConfigError: a number is below 1, or a name is not a text or occurs twice.
    """
    if class_names is None:
        return {}
    if isinstance(class_names, str):
        raise ConfigError(f"class_names is the text {class_names!r}; expected a list of names")
    pairs = class_names.items() if isinstance(class_names, Mapping) else enumerate(class_names, 1)
    names = {int(number): name for number, name in pairs}
    for number, name in names.items():
        if number < 1 or not isinstance(name, str) or not name:
            raise ConfigError(
                f"class_names has {number}: {name!r}; expected numbers from 1 (0 is background) "
                "and texts"
            )
    repeated = {name for name in names.values() if list(names.values()).count(name) > 1}
    if repeated:
        raise ConfigError(f"class_names has {sorted(repeated)[0]!r} twice; give each class a name")
    return names


def detector_of_config(
    config: TrainEvalPipelineConfig,
    class_names: Mapping[int, str] | None = None,
    *,
    draw_weights: bool = True,
) -> Detector:
    """Return a detector with random weights.

    Args:
        config: resolved.
        class_names: class number -> name; None for the names of the configuration's label map.
        draw_weights: draw the weights from the configuration's seed; not needed if all are loaded.
    """
    from object_detection_mtl.builders import model_builder
    from object_detection_mtl.inference import model_files, predictor
    from object_detection_mtl.training import first_weights

    if class_names is None:
        class_names = model_files.names_from_config(config)
    model = model_builder.build(config.model)
    if draw_weights:
        first_weights.draw(model, config.train_config.seed)
    return Detector(
        lambda images: predictor.from_detector(model),
        model=model,
        config=config,
        class_names=class_names,
        version=f"weights in memory {uuid.uuid4()}",
    )


def _resolve_config(
    config: TrainEvalPipelineConfig | str | os.PathLike[str],
    settings: Mapping[str, Any],
    tasks: Collection[str],
    refine: bool,
) -> TrainEvalPipelineConfig:
    if isinstance(config, str) and config in detector_templates.detector_types():
        if "num_classes" not in settings:
            raise ConfigError(
                f"num_classes is missing; the type {config!r} needs it, or class_names"
            )
        return detector_templates.make_config(config, tasks=tasks, refine=refine, **settings)
    if tasks or refine:
        raise ConfigError(
            f"tasks and refine are for a type of detector, and {config!r} is not one; a "
            "configuration enables tasks by itself, in model { mtl {} }. The types are "
            f"{', '.join(detector_templates.detector_types())}"
        )
    if isinstance(config, str | os.PathLike):
        return _load_any(config, settings)
    resolved = config_loading.as_config(config)
    if not settings:
        return resolved
    return pipeline.parse(
        pipeline.to_text(resolved), config_loading.setting_overrides(settings), "the configuration"
    )


def _load_any(name: str | os.PathLike[str], settings: Mapping[str, Any]) -> TrainEvalPipelineConfig:
    """Return a sample or file; a name that is neither may be a misspelt type."""
    try:
        return config_loading.load_config(name, **settings)
    except FileNotFoundError as error:
        near = suggestion(os.fspath(name), detector_templates.detector_types())
        if "/" in os.fspath(name) or not near:
            raise
        raise FileNotFoundError(
            f"{os.fspath(name)!r} is neither a type of detector nor a sample nor a file{near}"
        ) from error
