"""Configurations of detectors by type: the sample configurations without their data."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from object_detection_mtl.api.config_loading import load_config
from object_detection_mtl.backbones.registry import BACKBONES, PACKAGE_TYPES
from object_detection_mtl.config.errors import ConfigError, suggestion

if TYPE_CHECKING:
    from object_detection_mtl.protos.pipeline_pb2 import TrainEvalPipelineConfig

_FASTER_RCNN, _RFCN = "faster_rcnn_", "rfcn_"
# Type with a sample of its own -> the sample of Faster R-CNN or R-FCN, without "_mtl" and the
# dataset. A ResNet has that of ResNet-101 (those of TF-Slim and Keras have one crop size), other
# networks have that of MobileNet v1.
_SAMPLES = {
    "faster_rcnn_inception_v2": "faster_rcnn_inception_v2",
    "faster_rcnn_inception_resnet_v2": "faster_rcnn_inception_resnet_v2",
    "faster_rcnn_inception_resnet_v2_keras": "faster_rcnn_inception_resnet_v2",
    "rfcn_mobilenet_v1": "rfcn_mobilenet_v1",
}
_RESNETS = tuple(name for name in PACKAGE_TYPES if name.startswith(f"{_FASTER_RCNN}resnet"))
_SAMPLES |= dict.fromkeys(_RESNETS, "faster_rcnn_resnet101")
_SAMPLES |= {name.replace(_FASTER_RCNN, _RFCN): "rfcn_resnet101" for name in _RESNETS}
_DATASETS = {"rfcn_mobilenet_v1": "bccd"}
# Field in `mtl {}` of a task -> its name here, where it has another.
_NAMES = {"edgemask": "foreground"}


def detector_types() -> tuple[str, ...]:
    """Return the types of detectors, those of `register_backbone` included."""
    return tuple(sorted({*BACKBONES, *_SAMPLES}))


def make_config(
    detector_type: str,
    *,
    num_classes: int,
    tasks: Collection[str] = (),
    refine: bool = False,
    fine_tune_checkpoint: object = None,
    seed: int = 0,
) -> TrainEvalPipelineConfig:
    """Return the configuration of a detector type, without data.

    Args:
        detector_type: one of `detector_types()`.
        num_classes: number of classes, without background.
        tasks: auxiliary tasks: "window", "closeness", "foreground", or registered.
        refine: whether auxiliary predictions refine the class scores.
        fine_tune_checkpoint: checkpoint that training starts with; None for random weights.
        seed: seed of the first weights and of the training.

    Raises:
        ConfigError: the type or a task is unknown, or a value is wrong.
    """
    types = detector_types()
    if detector_type not in types:
        hint = suggestion(detector_type, types)
        raise ConfigError(
            f"detector type {detector_type!r} is unknown{hint or '; expected one of '}"
            f"{'' if hint else ', '.join(types)}"
        )
    switches = _task_switches(tasks, refine)
    stem = _SAMPLES.get(detector_type, "faster_rcnn_mobilenet_v1")
    sample = f"{stem}_mtl" if switches else stem
    feature_extractor = detector_type.replace(_RFCN, _FASTER_RCNN)
    overrides = [
        f"model.faster_rcnn.feature_extractor.type={feature_extractor}",
        "train_input_reader={}",
        "eval_input_reader=[]",
        *switches,
    ]
    return load_config(
        f"{sample}_{_DATASETS.get(stem, 'voc07')}",
        overrides,
        num_classes=num_classes,
        fine_tune_checkpoint=fine_tune_checkpoint,
        seed=seed,
    )


def _task_switches(tasks: Collection[str], refine: bool) -> list[str]:
    """Return the overrides that enable the tasks and disable the others; none for a baseline."""
    tasks = [tasks] if isinstance(tasks, str) else list(tasks)
    fields = _task_fields()
    registered = [task for task in tasks if task not in fields]
    for task in registered:
        _check_registered(task)
    if not tasks and not refine:
        return []
    enabled = {field: name in tasks for name, field in fields.items()}
    enabled["refine"] = refine
    switches = [f"model.mtl.{field}={str(value).lower()}" for field, value in enabled.items()]
    if registered:
        switches.append(f"model.mtl.registered_tasks=[{', '.join(map(repr, registered))}]")
    return switches


def _task_fields() -> dict[str, str]:
    """Return the tasks of the package: name -> field in `mtl {}`."""
    from object_detection_mtl.builders import mtl_builder

    return {_NAMES.get(field, field): field for field in mtl_builder.TASKS}


def _check_registered(task: str) -> None:
    """Raise an error for a task that is neither of the package nor registered."""
    from object_detection_mtl.builders import mtl_builder

    known = (*_task_fields(), *mtl_builder.REGISTERED_TASKS)
    if task not in known:
        raise ConfigError(
            f"auxiliary task {task!r} is unknown; expected some of {', '.join(known)}"
            f"{suggestion(task, known)}"
        )
