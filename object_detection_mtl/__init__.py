"""Multi-task self-supervised object detection on TensorFlow 2.

    import object_detection_mtl as odm

    detector = odm.load_detector("exported")
    detections = detector.predict("image.jpg")

Importing the package does not import TensorFlow: its functions are imported when they are first
used, and each command imports its modules after its flags are parsed. The first use of a function
also silences the messages of TensorFlow's C++ code, unless TF_CPP_MIN_LOG_LEVEL is set.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from object_detection_mtl.api.config_loading import load_config
    from object_detection_mtl.api.detections import Detections
    from object_detection_mtl.api.detector import Detector
    from object_detection_mtl.api.detector_building import build_detector
    from object_detection_mtl.api.detector_evaluation import (
        evaluate_checkpoints,
        evaluate_detector,
    )
    from object_detection_mtl.api.detector_export import export_detector
    from object_detection_mtl.api.detector_training import train_detector
    from object_detection_mtl.api.model_loading import load_detector
    from object_detection_mtl.backbones.registry import register_backbone
    from object_detection_mtl.builders.mtl_builder import register_task
    from object_detection_mtl.training.training_callbacks import TrainingCallback

__all__ = [
    "Detections",
    "Detector",
    "TrainingCallback",
    "build_detector",
    "evaluate_checkpoints",
    "evaluate_detector",
    "export_detector",
    "load_config",
    "load_detector",
    "register_backbone",
    "register_task",
    "train_detector",
]
# Public name -> its module.
_MODULES = {
    "Detections": "api.detections",
    "Detector": "api.detector",
    "TrainingCallback": "training.training_callbacks",
    "build_detector": "api.detector_building",
    "evaluate_checkpoints": "api.detector_evaluation",
    "evaluate_detector": "api.detector_evaluation",
    "export_detector": "api.detector_export",
    "load_config": "api.config_loading",
    "load_detector": "api.model_loading",
    "register_backbone": "backbones.registry",
    "register_task": "builders.mtl_builder",
    "train_detector": "api.detector_training",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from object_detection_mtl.cli import process_settings

    process_settings.quiet_tensorflow()
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """Return the names of the module, those not imported yet included."""
    return sorted({*globals(), *__all__})
