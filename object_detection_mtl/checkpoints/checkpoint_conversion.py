"""Write a detector's weights as a checkpoint, or a checkpoint with other values."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.checkpoint.checkpoint_management import update_checkpoint_state_internal

from object_detection_mtl import output_paths
from object_detection_mtl.backbones.backbone import Backbone
from object_detection_mtl.backbones.registry import KERAS_SUFFIX
from object_detection_mtl.checkpoints import native, tf1_detection
from object_detection_mtl.checkpoints.checkpoint_files import (
    OBJECT_GRAPH_KEY,
    PART_OF_CHECKPOINT,
    CheckpointFile,
)

NATIVE = "native"
TF1_DETECTION = "tf1_detection"
FORMATS = (NATIVE, TF1_DETECTION)


def write_checkpoint(
    detector: Any, prefix: str, *, form: str, names: Collection[str], step: int | None
) -> None:
    """Write some of a detector's variables.

    Args:
        detector: a `TwoStageDetector`.
        prefix: prefix of the files, such as `converted/ckpt-0`; its directory is created.
        form: one of `FORMATS`.
        names: names of the variables to write, as in `native.named_variables`.
        step: training steps behind the weights; None counts as 0.

    Raises:
        ValueError: an unknown format, a prefix that is the name of a single file, or a network
            that TF1 detection checkpoints do not have.
        FileExistsError: the checkpoint exists already.
    """
    check_output(prefix)
    if form not in FORMATS:
        raise ValueError(f"format {form!r} is unknown; expected one of {', '.join(FORMATS)}")
    output_paths.make_directory(os.path.dirname(prefix))
    if form == NATIVE:
        variables = native.named_variables(detector)
        _write_native({name: variables[name] for name in names}, prefix, step or 0)
    else:
        _require_tf1_names(detector.backbone)
        variables = tf1_detection.name_map(detector)
        arrays = {name: v.numpy() for name, v in variables.items() if name in names}
        _write_names(arrays | {"global_step": np.array(step or 0, np.int64)}, prefix)


def write_changed_checkpoint(
    source: CheckpointFile, prefix: str, values: Mapping[str, np.ndarray]
) -> None:
    """Write a native checkpoint again with other values of some variables.

    All else, the optimizer's state too, stays as it is, so that training can continue from it. A
    moving average of a changed variable gets the new value; its other slots, such as a momentum,
    become 0.

    Args:
        source: checkpoint of this package.
        prefix: prefix of the new files; its directory is created.
        values: name of a variable, as in `native.named_variables` -> new value.

    Raises:
        ValueError: as `check_output`; the source is of another kind, or lacks a variable or has
            it in another shape.
        FileExistsError: the checkpoint exists already.
    """
    check_output(prefix)
    if not native.is_native(source):
        raise ValueError(
            f"checkpoint {source.prefix!r} was not written by this package's training; convert it "
            "with convert_checkpoint first"
        )
    changed = _changed_values(source, values)
    names = [*source.shapes, OBJECT_GRAPH_KEY]
    output_paths.make_directory(os.path.dirname(prefix))
    tensors = [tf.constant(changed.get(name, source.read(name))) for name in names]
    _write_tensors(names, tensors, prefix)
    update_checkpoint_state_internal(os.path.dirname(prefix) or ".", os.path.basename(prefix))


def _changed_values(
    source: CheckpointFile, values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return key in the checkpoint -> new value, those of optimizer slots too."""
    changed = {}
    for name, value in values.items():
        key = native.checkpoint_key(native.MODEL_ROOT, name)
        if source.shapes.get(key) != value.shape:
            raise ValueError(
                f"checkpoint {source.prefix!r} has {name} in shape {source.shapes.get(key)}; "
                f"expected {value.shape}, that of the new value"
            )
        leaf = key.removeprefix(native.MODEL_ROOT)
        for other in source.shapes:
            if other == key or other == f"{native.AVERAGE_ROOT}{leaf}":
                changed[other] = value.astype(np.float32)
            elif other.startswith("optimizer/") and other.endswith(leaf):
                changed[other] = np.zeros(source.shapes[other], np.float32)
    return changed


def check_output(prefix: str) -> None:
    """Refuse a prefix that cannot be written to.

    Raises:
        ValueError, FileExistsError: as `write_checkpoint`.
    """
    if PART_OF_CHECKPOINT.search(prefix) or prefix.endswith("/"):
        raise ValueError(
            f"output path {prefix!r} must be the common prefix of the checkpoint's files, such as "
            "converted/ckpt-0"
        )
    if os.path.exists(f"{prefix}.index"):
        raise FileExistsError(f"checkpoint {prefix!r} exists already; give another path")


def _write_native(variables: Mapping[str, Any], prefix: str, step: int) -> None:
    checkpoint = tf.train.Checkpoint(
        model=native.tree(variables), step=tf.Variable(step, dtype=tf.int64)
    )
    checkpoint.write(prefix)
    directory = os.path.dirname(prefix) or "."
    # In a directory without a state file this is the only checkpoint, and the newest.
    if not os.path.exists(os.path.join(directory, "checkpoint")):
        update_checkpoint_state_internal(directory, os.path.basename(prefix))


def _write_names(arrays: Mapping[str, np.ndarray], prefix: str) -> None:
    """Write a name-based checkpoint, as a TF1 Saver does."""
    names = sorted(arrays)
    _write_tensors(names, [tf.constant(arrays[name]) for name in names], prefix)


def _write_tensors(names: Sequence[str], tensors: Sequence[tf.Tensor], prefix: str) -> None:
    tf.raw_ops.SaveV2(
        prefix=prefix,
        tensor_names=names,
        shape_and_slices=[""] * len(names),
        tensors=tensors,
    )


def _require_tf1_names(backbone: Backbone) -> None:
    """Raise ValueError if no detector of TensorFlow 1 has the backbone."""
    keras_names = any(
        layer.weights and not hasattr(layer, "tf_slim_variables")
        for layer in backbone.stage1.layers
    )
    if keras_names or backbone.scope.endswith(KERAS_SUFFIX):
        raise ValueError(
            f"the feature extractor is {backbone.scope}, which TensorFlow 1's detectors do not "
            "have; only networks of TF-Slim can be written under their names"
        )
