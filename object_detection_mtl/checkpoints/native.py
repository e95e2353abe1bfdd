"""Native checkpoints: the files that training writes, with stable names.

A checkpoint has the OD API's roots `step`, `save_counter`, `model` and `optimizer`, and `counters`
for further numbers of a run. `model` holds the TF1 names
(`model/FirstStageFeatureExtractor/MobilenetV1/Conv2d_0/weights`), not the path of Python attributes
that TensorFlow 2 would write: files stay readable when code is moved. `optimizer` holds
`iterations` and one tree of the same names per slot (`momentum`, `average`, ...).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from object_detection_mtl.checkpoints import restore_plan, tf1_detection
from object_detection_mtl.checkpoints.checkpoint_files import VALUE_SUFFIX, CheckpointFile
from object_detection_mtl.checkpoints.restore_plan import UNNAMED_SCOPE

MODEL_ROOT = "model"
AVERAGE_ROOT = "optimizer/average"


def named_variables(detector: Any) -> dict[str, keras.Variable]:
    """Return name in a checkpoint -> variable, for every variable of the detector.

    Raises:
        ValueError: two variables have the same name (an error of the model's name map).
    """
    names = dict(tf1_detection.name_map(detector))
    known = {id(variable) for variable in names.values()}
    if len(known) != len(names):
        raise ValueError("the name map gives one variable two names")
    for variable in detector.variables:
        if id(variable) not in known:
            name = f"{UNNAMED_SCOPE}/{variable.path}"
            if name in names:
                raise ValueError(f"two variables would be called {name!r} in a checkpoint")
            names[name] = variable
    return names


def tree(names: Mapping[str, keras.Variable]) -> dict[str, Any]:
    """Return `{"a": {"b": v}}` for `{"a/b": v}`, as `tf.train.Checkpoint` tracks it."""
    root: dict[str, Any] = {}
    for name, variable in names.items():
        *scopes, leaf = name.split("/")
        node = root
        for scope in scopes:
            node = node.setdefault(scope, {})
        node[leaf] = variable
    return root


def checkpoint_key(root: str, name: str) -> str:
    """Return the key in the file of a variable of the tree below `root`."""
    # TensorFlow escapes a dot in a name by doubling it.
    return f"{root}/{name.replace('.', '..')}{VALUE_SUFFIX}"


def is_native(checkpoint: CheckpointFile) -> bool:
    """Return whether training with this package wrote the checkpoint."""
    return checkpoint.is_object_based and bool(networks(checkpoint))


def networks(checkpoint: CheckpointFile) -> set[str]:
    """Return the feature extractor's network, such as `MobilenetV1`."""
    prefix = f"{MODEL_ROOT}/FirstStageFeatureExtractor/"
    return {
        key[len(prefix) :].split("/", 1)[0] for key in checkpoint.shapes if key.startswith(prefix)
    }


def has_averages(checkpoint: CheckpointFile) -> bool:
    """Return whether the checkpoint holds moving averages."""
    return any(key.startswith(f"{AVERAGE_ROOT}/") for key in checkpoint.shapes)


def _plan(
    checkpoint: CheckpointFile, names: Mapping[str, Any], request: restore_plan.RestoreRequest
) -> restore_plan.RestorePlan:
    """Plan by equal names."""
    restore_plan.require_detection(checkpoint, request)
    restore_plan.require_network(checkpoint, networks(checkpoint), restore_plan.network_of(names))
    restore_plan.require_averages(checkpoint, has_averages(checkpoint), request)
    wanted = restore_plan.detector_names(names, request)
    offered = dict(wanted)
    if request.checkpoint_type == restore_plan.FULL:
        offered |= {name: name for name in names if name.startswith(f"{UNNAMED_SCOPE}/")}
    keys = {
        name: (checkpoint_key(MODEL_ROOT, stored), checkpoint_key(AVERAGE_ROOT, stored))
        for name, stored in offered.items()
    }
    return restore_plan.RestorePlan(
        description=SOURCE.title,
        values=restore_plan.stored_values(checkpoint, keys, request),
        wanted=frozenset(wanted),
        weights=frozenset(key for key in checkpoint.shapes if key.startswith(f"{MODEL_ROOT}/")),
    )


SOURCE = restore_plan.CheckpointSource(
    title="checkpoint of this package",
    recognizes=is_native,
    networks=networks,
    is_detector=lambda checkpoint: True,
    plan=_plan,
)
