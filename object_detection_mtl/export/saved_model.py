"""Export of a detector in the directory layout of the OD API.

    <output>/pipeline.config
    <output>/checkpoint/            checkpoint, ckpt-0.index, ckpt-0.data-...
    <output>/saved_model/           saved_model.pb, variables/, assets/
    <output>/saved_model/assets/metadata.json               see export_metadata.py
    <output>/saved_model/assets/label_map.pbtxt             if the label map is known
    <output>/saved_model/assets.extra/                      see warmup_request.py

Other formats have model.onnx, or model.xml and model.bin, in place of saved_model/ (see
onnx_conversion.py and openvino_conversion.py); a directory may have one model in several formats
(see export_formats.py). Metadata and label map are assets of the SavedModel:
`tf.saved_model.load(...)` has them as `metadata` and `label_map`, and they are copied with it. An
export is written beside the output directory and replaces an earlier one when it is complete, in
one operation where the file system has it. In a mount point and on remote file systems, the parts
are replaced one after another. Other files of the directory are kept.
"""

from __future__ import annotations

import dataclasses
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf
from absl import logging

from object_detection_mtl import output_lock, output_paths
from object_detection_mtl.checkpoints import native
from object_detection_mtl.export import directory_exchange
from object_detection_mtl.export.calibration import Calibration, describe_cpu
from object_detection_mtl.export.export_formats import (
    CHECKPOINT_NAME,
    CHECKPOINT_NUMBER,
    CONFIG_NAME,
    FILES,
    METADATA,
    SAVED_MODEL_NAME,
    outdated_files,
)
from object_detection_mtl.export.export_metadata import (
    describe_export,
    names_of_classes,
    write_metadata,
)
from object_detection_mtl.export.export_options import (
    BFLOAT16,
    INT8,
    ONNX,
    OPENVINO,
    ExportOptions,
)
from object_detection_mtl.export.exported_module import DetectionModule
from object_detection_mtl.export.formats import (
    onnx_conversion,
    onnx_quantization,
    openvino_conversion,
    openvino_quantization,
)
from object_detection_mtl.export.graph.freezing import optimize_module
from object_detection_mtl.export.warmup_request import write_warmup_request

ASSETS = "assets"
LABEL_MAP = os.path.join(ASSETS, "label_map.pbtxt")
SIGNATURE = "serving_default"

_CONVERTED_FORMATS: dict[str, Any] = {ONNX: onnx_conversion, OPENVINO: openvino_conversion}
_QUANTIZERS: dict[str, Any] = {ONNX: onnx_quantization, OPENVINO: openvino_quantization}


def export_detector(
    detector: Any,
    output_directory: str,
    *,
    config_text: str,
    options: ExportOptions | None = None,
    label_map_path: str | None = None,
    checkpoint: str = "",
    calibration: Calibration | None = None,
) -> None:
    """Export a detector.

    Args:
        detector: With loaded weights.
        output_directory: Created if it does not exist; an earlier export in it is replaced. Of its
            other formats those of the same model are kept.
        config_text: The resolved config, written as pipeline.config.
        options: Options of the export; None for the default.
        label_map_path: Label map to copy into the SavedModel, or None.
        checkpoint: Prefix of the checkpoint of the weights, for the metadata.
        calibration: Of precision INT8.

    Raises:
        ValueError: The output directory belongs to a training run or is a file.
        OSError: The directory cannot be written.
        OutputInUseError: Another export writes to it.
    """
    output_directory = output_paths.strip_slashes(
        output_paths.without_file_scheme(output_directory)
    )
    check_output_directory(output_directory)
    options = options or ExportOptions()
    require_packages(options)
    module = DetectionModule(detector, options)
    if "://" not in output_directory:
        # The directory itself is replaced, not a link to it.
        output_directory = os.path.realpath(output_directory)
        output_paths.make_directory(os.path.dirname(output_directory))
    workplace, name = output_paths.split_path(_working_path(output_directory))
    if workplace:
        tf.io.gfile.makedirs(workplace)
    lock = os.path.join(workplace, f".{name}.lock")
    with output_lock.hold_lock(lock, f"the output directory {output_directory!r}"):
        _export_locked(
            module,
            detector,
            output_directory,
            config_text=config_text,
            options=options,
            label_map_path=label_map_path,
            checkpoint=checkpoint,
            calibration=calibration,
        )


def require_packages(options: ExportOptions) -> None:
    """Check early that the packages of an export are installed.

    Raises:
        ValueError: One is not; the message says how to install it.
    """
    if options.format in _CONVERTED_FORMATS:
        _CONVERTED_FORMATS[options.format].require_converter()
    if options.precision == INT8:
        _QUANTIZERS[options.format].require_quantizer()


def _export_locked(
    module: DetectionModule, detector: Any, output_directory: str, **description: Any
) -> None:
    """Write an export beside the output directory, and replace that when it is complete."""
    _remove_leftovers(output_directory)
    working_path = _working_path(output_directory)
    scratch = f"{working_path}.incomplete-{uuid.uuid4().hex[:8]}"
    try:
        tf.io.gfile.makedirs(scratch)
        _write_parts(
            module,
            detector,
            scratch,
            **description,
        )
        model_format = description["options"].format
        names = names_of_classes(getattr(detector, "num_classes", 0), description["label_map_path"])
        outdated = outdated_files(output_directory, scratch, model_format, names)
        is_inside = working_path != output_directory
        if is_inside or not directory_exchange.replace_directory(
            output_directory, scratch, outdated
        ):
            parts = (CONFIG_NAME, CHECKPOINT_NAME, *FILES[model_format])
            _replace_parts(output_directory, scratch, parts, outdated)
        if outdated:
            print(
                f"removed {', '.join(outdated)}, of an earlier export of another model", flush=True
            )
    except tf.errors.OpError as error:
        raise OSError(f"cannot write to {output_directory!r}: {error.message}") from error
    finally:
        if tf.io.gfile.exists(scratch):
            _remove_directory(scratch)


def _working_path(output_directory: str) -> str:
    """Return the path beside which an export is written: the output directory, mostly.

    Nothing can be moved there if it is a mount point, and `gs://bucket` has nothing beside it; then
    an export is written inside, and its parts are replaced one after another.
    """
    if os.path.ismount(output_directory) or output_paths.is_top_level(output_directory):
        return os.path.join(output_directory, "export")
    return output_directory


def _remove_leftovers(output_directory: str) -> None:
    """Remove what killed exports left, and restore an export that one had moved aside."""
    parent, base = output_paths.split_path(_working_path(output_directory))
    parent = parent or "."
    if not output_paths.is_remote(parent):
        found = directory_exchange.restore(output_directory)
        if found:
            print(f"{found}, left by an interrupted export, is {output_directory} again")
    pattern = re.compile(re.escape(base) + r"\.(incomplete|replaced)-[0-9a-f]{8}")
    for name in tf.io.gfile.listdir(parent):
        if pattern.fullmatch(name.rstrip("/")):
            _remove_directory(os.path.join(parent, name.rstrip("/")))
            print(f"removed {name.rstrip('/')}, left by an interrupted export", flush=True)


def check_output_directory(output_directory: str) -> None:
    """Check that an export can be written to a directory.

    Raises:
        ValueError: The path is empty, a file, or the directory of a training run.
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
            f"output directory {output_directory!r} is the model directory of a training run (its "
            f"{CHECKPOINT_NAME!r} is a file, in an export it is a directory); give another one"
        )


def _write_parts(
    module: DetectionModule,
    detector: Any,
    directory: str,
    *,
    config_text: str,
    options: ExportOptions,
    label_map_path: str | None,
    checkpoint: str,
    calibration: Calibration | None,
) -> None:
    _write_checkpoint(detector, directory, config_text)
    description = describe_export(
        config_text=config_text,
        checkpoint=checkpoint,
        num_classes=detector.num_classes,
        label_map_path=label_map_path,
        options=options,
    )
    if options.format in _CONVERTED_FORMATS:
        conversion = _CONVERTED_FORMATS[options.format]
        precision = {"precision": BFLOAT16} if options.precision == BFLOAT16 else {}
        converted = conversion.convert_module(module, **precision)
        if options.precision == INT8:
            assert calibration is not None
            quantizer = _QUANTIZERS[options.format]
            converted, summary = quantizer.quantize_model(converted, calibration)
            description["quantization"] = dataclasses.asdict(summary)
            print(summary, flush=True)
            if warning := describe_cpu():
                print(f"warning: {warning}", flush=True)
        conversion.write_model(converted, directory, description)
        return
    served: Any = module
    if options.optimize:
        served = optimize_module(module, options.precision, kernels_as_variables=True)
    _write_saved_model(served, directory, description, label_map_path)
    write_warmup_request(os.path.join(directory, SAVED_MODEL_NAME), options, SIGNATURE)


def _write_checkpoint(detector: Any, directory: str, config_text: str) -> None:
    with tf.io.gfile.GFile(os.path.join(directory, CONFIG_NAME), "w") as file:
        file.write(config_text)
    checkpoint = tf.train.Checkpoint(model=native.tree(native.named_variables(detector)))
    manager = tf.train.CheckpointManager(
        checkpoint, os.path.join(directory, CHECKPOINT_NAME), max_to_keep=1
    )
    manager.save(checkpoint_number=CHECKPOINT_NUMBER)


def _write_saved_model(
    module: Any, directory: str, description: Mapping[str, Any], label_map_path: str | None
) -> None:
    """Write the SavedModel of a module with the function `detect`, and its assets."""
    # An asset has the name of the file that it is copied from.
    sources = os.path.join(directory, "sources")
    tf.io.gfile.makedirs(os.path.join(sources, ASSETS))
    write_metadata(description, os.path.join(sources, METADATA))
    module.metadata = tf.saved_model.Asset(os.path.join(sources, METADATA))
    if label_map_path:
        tf.io.gfile.copy(label_map_path, os.path.join(sources, LABEL_MAP))
        module.label_map = tf.saved_model.Asset(os.path.join(sources, LABEL_MAP))
    saved_model = os.path.join(directory, SAVED_MODEL_NAME)
    # Not a concrete function: saving would trace, and write, another one beside it.
    tf.saved_model.save(module, saved_model, signatures={SIGNATURE: module.detect})
    tf.io.gfile.rmtree(sources)


def _replace_parts(
    output_directory: str, scratch: str, parts: Sequence[str], outdated: Sequence[str]
) -> None:
    """Remove the outdated parts, and move each new one to the directory.

    Where that fails, the old part and the outdated ones are restored.
    """
    tf.io.gfile.makedirs(output_directory)
    removed: list[str] = []
    try:
        for name in outdated:
            _move(os.path.join(output_directory, name), os.path.join(scratch, f"replaced_{name}"))
            removed.append(name)
        _move_parts(output_directory, scratch, parts)
    except tf.errors.OpError:
        for name in removed:
            _move(os.path.join(scratch, f"replaced_{name}"), os.path.join(output_directory, name))
        raise


def _move_parts(output_directory: str, scratch: str, parts: Sequence[str]) -> None:
    for name in parts:
        target = os.path.join(output_directory, name)
        backup = os.path.join(scratch, f"replaced_{name}")
        if directory_exchange.exchange(target, os.path.join(scratch, name)):
            continue
        is_replaced = tf.io.gfile.exists(target)
        if is_replaced:
            _move(target, backup)
        try:
            _move(os.path.join(scratch, name), target)
        except tf.errors.OpError:
            if is_replaced:
                _move(backup, target)
            raise
        if is_replaced:
            logging.info("replaced %s", target)


def _move(source: str, target: str) -> None:
    """Rename a file or directory; on remote file systems every file, as not all rename more."""
    if not output_paths.is_remote(source) or not tf.io.gfile.isdir(source):
        tf.io.gfile.rename(source, target)
        return
    for directory, _, names in list(tf.io.gfile.walk(source)):
        below = directory[len(source) :].strip("/")
        new_directory = os.path.join(target, below) if below else target
        tf.io.gfile.makedirs(new_directory)
        for name in names:
            path = os.path.join(directory, name)
            # `ram://` lists files of `assets.extra` in `assets`, too.
            if tf.io.gfile.exists(path):
                tf.io.gfile.rename(path, os.path.join(new_directory, name))
    _remove_directory(source)


def _remove_directory(path: str) -> None:
    """Remove a directory; `ram://` does not find all that it lists, which ends no export."""
    try:
        tf.io.gfile.rmtree(path)
    except tf.errors.NotFoundError:
        if not output_paths.is_remote(path):
            raise
