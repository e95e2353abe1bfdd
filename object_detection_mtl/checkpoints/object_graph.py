"""Object graph of a detector: what `tf.train.Checkpoint(model=detector)` saves and restores.

The variables have the names of checkpoints, not those of Python attributes. Files of this package
and of the OD API in TensorFlow 2 have different names for the same variables: both are found when
a checkpoint is restored. A detector that the OD API has too is saved under the OD API's names, any
other one under this package's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.checkpoints import kernel_shapes, native, odapi_tf2, restore_plan

_ATTRIBUTE = "_object_graph"


class ObjectGraph:
    """Trackable objects of a detector.

    Attributes:
        saved: name -> object, those that are saved.
    """

    def __init__(self, detector: Any) -> None:
        """Make the objects of a detector, all of whose variables exist."""
        names = native.named_variables(detector)
        ours = _trackables(native.tree(names))
        theirs = _odapi_objects(detector, names)
        self.saved: dict[str, Any] = theirs or ours
        self._found = {**ours, **theirs}

    def find(self, name: str) -> Any:
        """Return the object that a file calls `name`; None if there is none."""
        return self._found.get(name)


class CheckpointableDetector:
    """Base class of a detector whose object graph has the names of checkpoints.

    It comes before `keras.layers.Layer`. While the layer is built, Keras tracks its parts as usual.
    """

    built: bool

    def _trackable_children(self, save_type: str = "checkpoint", **kwargs: Any) -> dict[str, Any]:
        return dict(object_graph(self).saved)

    def _lookup_dependency(self, name: str, cached_dependencies: Any = None) -> Any:
        if not getattr(self, "built", False):
            return super()._lookup_dependency(name, cached_dependencies)  # type: ignore[misc]
        return object_graph(self).find(name)


def object_graph(detector: Any) -> ObjectGraph:
    """Return the object graph of a detector, the same at every call."""
    # Not by setattr: Keras would track the objects as parts of the layer.
    if _ATTRIBUTE not in detector.__dict__:
        detector.__dict__[_ATTRIBUTE] = ObjectGraph(detector)
    return detector.__dict__[_ATTRIBUTE]


def _trackables(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the branches of a tree of variables as objects that TensorFlow tracks."""
    module = tf.Module()
    for name, branch in tree.items():
        setattr(module, name, branch)
    return {name: getattr(module, name) for name in tree}


def _odapi_objects(detector: Any, names: Mapping[str, keras.Variable]) -> dict[str, Any]:
    """Return the objects under the OD API's names; none if it has no such detector."""
    weights = {
        name: variable
        for name, variable in names.items()
        if not name.startswith(f"{native.UNNAMED_SCOPE}/")
    }
    if not kernel_shapes.has_keras_form(restore_plan.network_of(weights)):
        return {}
    paths = odapi_tf2.object_paths(weights, has_dropout=_has_dropout(detector))
    if len(paths) < len(weights):  # an auxiliary task, or a hidden layer
        return {}
    root = f"{native.MODEL_ROOT}/"
    objects = {path.removeprefix(root): weights[name] for name, path in paths.items()}
    return _trackables(native.tree(objects))


def _has_dropout(detector: Any) -> bool:
    if detector.second_stage is None:
        return False
    return getattr(detector.second_stage.head.predictor, "dropout", None) is not None
