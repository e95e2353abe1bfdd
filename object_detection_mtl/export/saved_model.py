"""Writes a detector in the layout of the OD API's exporter.

    <output>/pipeline.config
    <output>/checkpoint/            checkpoint, ckpt-0.index, ckpt-0.data-...
    <output>/saved_model/           saved_model.pb, variables/, assets/
    <output>/saved_model/assets/metadata.json               see metadata.py
    <output>/saved_model/assets/label_map.pbtxt             where the label map is known
    <output>/saved_model/assets.extra/                      see warmup.py

In place of saved_model/ there is model.onnx, or model.xml and model.bin, where that is asked for
(see onnx.py and openvino.py). Metadata and label map are assets in TensorFlow's sense:
`tf.saved_model.load(...)` knows them as `metadata` and `label_map`, and whoever copies a SavedModel
takes them along. A new export appears only when it is complete: it is written beside the output
directory first, and then takes the place of the old one. Other files of the directory are left
alone.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from object_detection_mtl.checkpoints import native
from object_detection_mtl.export import export_metadata, warmup_request
from object_detection_mtl.export.export_options import (
    FLOAT32,
    ONNX,
    OPENVINO,
    SAVED_MODEL,
    ExportOptions,
)
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.formats import onnx_conversion, openvino_conversion
from object_detection_mtl.export.graph import freezing

CONFIG_NAME = "pipeline.config"
CHECKPOINT_NAME = "checkpoint"
SAVED_MODEL_NAME = "saved_model"
ASSETS = "assets"
LABEL_MAP = os.path.join(ASSETS, "label_map.pbtxt")
METADATA = os.path.join(ASSETS, "metadata.json")
SIGNATURE = "serving_default"

_OTHER_FORMATS: dict[str, Any] = {ONNX: onnx_conversion, OPENVINO: openvino_conversion}
# Format -> names of the model's files and folders.
FILES = {
    SAVED_MODEL: (SAVED_MODEL_NAME,),
    ONNX: onnx_conversion.FILES,
    OPENVINO: openvino_conversion.FILES,
}

_CHECKPOINT_NUMBER = 0


def export(
    detector: Any,
    output_directory: str,
    *,
    config_text: str,
    options: ExportOptions | None = None,
    label_map_path: str | None = None,
    checkpoint: str = "",
) -> None:
    """Exports a detector that has its weights.

    Args:
        detector: built for inference.
        output_directory: created where it does not exist; an earlier export in it is replaced.
        config_text: the resolved configuration, written as pipeline.config.
        options: what the SavedModel takes and how its graph is made; None for the default.
        label_map_path: a label map to put into the SavedModel, or None.
        checkpoint: where the weights are from, to be told in the metadata.

    Raises:
        ValueError: an output directory that is something else's.
        OSError: the directory cannot be written.
    """
    output_directory = output_directory.rstrip("/") or output_directory
    check_output(output_directory)
    options = options or ExportOptions()
    if options.format in _OTHER_FORMATS:
        _OTHER_FORMATS[options.format].require_converter()
    module = DetectionModule(detector, options)
    scratch = f"{output_directory}.incomplete-{uuid.uuid4().hex[:8]}"
    try:
        tf.io.gfile.makedirs(scratch)
        _write(
            module,
            detector,
            scratch,
            config_text=config_text,
            options=options,
            label_map_path=label_map_path,
            checkpoint=checkpoint,
        )
        model = FILES[options.format]
        _replace(output_directory, scratch, (CONFIG_NAME, CHECKPOINT_NAME, *model))
    except tf.errors.OpError as error:
        raise OSError(f"cannot write to {output_directory!r}: {error.message}") from error
    finally:
        if tf.io.gfile.exists(scratch):
            tf.io.gfile.rmtree(scratch)


def check_output(output_directory: str) -> None:
    """Refuses a directory into which an export would not fit.

    Raises:
        ValueError: it is a file, or a training run's directory.
    """
    if not output_directory:
        raise ValueError("the output directory is empty; give the path of a directory")
    if not tf.io.gfile.exists(output_directory):
        return
    if not tf.io.gfile.isdir(output_directory):
        raise ValueError(f"output directory {output_directory!r} is a file; give a directory")
    state = os.path.join(output_directory, CHECKPOINT_NAME)
    if tf.io.gfile.exists(state) and not tf.io.gfile.isdir(state):
        raise ValueError(
            f"output directory {output_directory!r} is the model directory of a training run (it "
            f"has a file {CHECKPOINT_NAME!r}, which an export has as a folder); give another one"
        )


def _write(
    module: DetectionModule,
    detector: Any,
    directory: str,
    *,
    config_text: str,
    options: ExportOptions,
    label_map_path: str | None,
    checkpoint: str,
) -> None:
    _write_checkpoint(detector, directory, config_text)
    description = export_metadata.describe(
        config_text=config_text,
        checkpoint=checkpoint,
        num_classes=detector.num_classes,
        label_map_path=label_map_path,
        options=options,
    )
    if options.format in _OTHER_FORMATS:
        runtime = _OTHER_FORMATS[options.format]
        narrowed = {} if options.precision == FLOAT32 else {"precision": options.precision}
        runtime.write(runtime.convert(module, **narrowed), directory, description)
        return
    served: Any = module
    if options.optimize:
        served = freezing.optimized(module, options.precision, kernels_apart=True)
    _write_saved_model(served, directory, description, label_map_path)
    warmup_request.write(os.path.join(directory, SAVED_MODEL_NAME), options, SIGNATURE)


def _write_checkpoint(detector: Any, directory: str, config_text: str) -> None:
    with tf.io.gfile.GFile(os.path.join(directory, CONFIG_NAME), "w") as file:
        file.write(config_text)
    checkpoint = tf.train.Checkpoint(model=native.tree(native.named_variables(detector)))
    manager = tf.train.CheckpointManager(
        checkpoint, os.path.join(directory, CHECKPOINT_NAME), max_to_keep=1
    )
    manager.save(checkpoint_number=_CHECKPOINT_NUMBER)


def _write_saved_model(
    module: Any, directory: str, description: Mapping[str, Any], label_map_path: str | None
) -> None:
    """Args:
    module: with `detect`, what is served.
    description: the metadata.
    """
    # An asset has the name of the file that it is copied from.
    sources = os.path.join(directory, "sources")
    tf.io.gfile.makedirs(os.path.join(sources, ASSETS))
    export_metadata.write(description, os.path.join(sources, METADATA))
    module.metadata = tf.saved_model.Asset(os.path.join(sources, METADATA))
    if label_map_path:
        tf.io.gfile.copy(label_map_path, os.path.join(sources, LABEL_MAP))
        module.label_map = tf.saved_model.Asset(os.path.join(sources, LABEL_MAP))
    saved_model = os.path.join(directory, SAVED_MODEL_NAME)
    # Not a concrete function of it: saving would trace, and write, another one beside it.
    tf.saved_model.save(module, saved_model, signatures={SIGNATURE: module.detect})


def _replace(output_directory: str, scratch: str, parts: Sequence[str]) -> None:
    """Moves each finished part to its place, or leaves the old one there if that fails."""
    tf.io.gfile.makedirs(output_directory)
    for name in parts:
        place = os.path.join(output_directory, name)
        aside = os.path.join(scratch, f"replaced_{name}")
        is_replaced = tf.io.gfile.exists(place)
        if is_replaced:
            tf.io.gfile.rename(place, aside)
        try:
            tf.io.gfile.rename(os.path.join(scratch, name), place)
        except tf.errors.OpError:
            if is_replaced:
                tf.io.gfile.rename(aside, place)
            raise
        if is_replaced:
            logging.info("replaced %s", place)
