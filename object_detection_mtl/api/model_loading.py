"""Trained detectors from a path: exports, training directories, checkpoints."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from object_detection_mtl.api import (
    config_loading,
    detector_building,
    model_search,
    number_arguments,
)
from object_detection_mtl.api.detector import Detector, MakePredictor
from object_detection_mtl.api.model_search import ModelFiles, ModelKind
from object_detection_mtl.config import pipeline
from object_detection_mtl.config.errors import suggestion

if TYPE_CHECKING:
    from object_detection_mtl.export.runtimes.runtime_choice import AutoOptions
    from object_detection_mtl.protos.pipeline_pb2 import TrainEvalPipelineConfig

_TENSORFLOW, _FLOAT32 = "tensorflow", "float32"


def load_detector(
    path: str | os.PathLike[str],
    *,
    config: TrainEvalPipelineConfig | str | os.PathLike[str] | None = None,
    class_names: Mapping[int, str] | Sequence[str] | None = None,
    engine: str | None = None,
    precision: str = _FLOAT32,
    auto_candidates: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    auto_max_difference: float = 0.0,
    num_streams: int = 1,
) -> Detector:
    """Return a trained detector.

    Args:
        path: an export (its output directory, saved_model, model.onnx or model.xml); the directory
            of a training, which means its newest checkpoint; or the prefix of a checkpoint, such
            as run/ckpt-3. SavedModels of the Object Detection API work, too.
        config: configuration of a checkpoint. Default: the pipeline.config beside it, which
            trainings and exports write.
        class_names: names of the classes 1, 2, ..., or number -> name. Default: the names that the
            export, the label map beside the configuration, or the configuration's label map has.
        engine: runtime that computes the detector: "tensorflow", "openvino", "onnxruntime", or
            "auto" for the fastest installed one whose detections equal TensorFlow's on the first
            image. All but TensorFlow convert the checkpoint. Default: TensorFlow, or the runtime
            of the file.
        precision: "float32", or "bfloat16" for convolutions in OpenVINO.
        auto_candidates: of the engine "auto": further exports to compare, such as int8 ones
            (model.xml, model.onnx or a directory with them). Those beside a SavedModel are compared
            anyway.
        auto_max_difference: of the engine "auto": the detections on the first 8 images may differ
            so much from TensorFlow's, from 0 (equal) to 1 (nothing in common).
        num_streams: of OpenVINO: number of calls that are computed at the same time, each by a part
            of the CPU's cores, when `detect_files` or `predict` gets many images. 1 computes each
            call by all cores.

    Returns:
        The detector. One of a checkpoint can also be trained, evaluated and exported; its first
        call traces or converts it. One of an export has detected in a gray image, so that its first
        call takes hardly longer than others.

    Raises:
        FileNotFoundError: there is no model at the path, or no configuration beside a checkpoint.
        ValueError: the model is corrupt, does not fit the configuration, or needs a package that
            is not installed.

    Example:
        >>> import object_detection_mtl as odm
        >>> detector = odm.load_detector("run")
        >>> detector.class_names
        {1: 'square', 2: 'stripe'}
    """
    number_arguments.require_whole_numbers(num_streams=num_streams)
    number_arguments.require_numbers(auto_max_difference=auto_max_difference)
    names = detector_building.class_numbers(class_names) or None
    if config is not None:
        files = model_search.find_checkpoint(path)
    else:
        files = _find_model(path, converts=engine not in (None, _TENSORFLOW))
    auto = _auto_options(path, engine, auto_candidates, auto_max_difference)
    if files.kind is ModelKind.CHECKPOINT:
        resolved = _config_of(files, config)
        return _from_checkpoint(
            files, resolved, names, engine or _TENSORFLOW, precision, auto, num_streams
        )
    return _from_export(files, names, engine, precision, num_streams)


def load_weights(detector: Detector, prefix: str) -> None:
    """Load a checkpoint into the network of a detector, as evaluation does.

    Args:
        detector: with a network.
        prefix: checkpoint prefix.

    Raises:
        ValueError: the checkpoint belongs to another model or is corrupt.
    """
    from object_detection_mtl.checkpoints import loading

    assert detector.config is not None
    loading.load_detector_weights(
        detector.require_model("load weights"),
        prefix,
        use_moving_averages=detector.config.eval_config.use_moving_averages,
    )
    detector.source = prefix
    digest = hashlib.sha256(pipeline.to_text(detector.config).encode()).hexdigest()
    detector.version = f"{os.path.abspath(prefix)} {digest}"


def _find_model(path: str | os.PathLike[str], *, converts: bool) -> ModelFiles:
    """Return the model at a path; to convert a SavedModel, the checkpoint that it was made of."""
    if not isinstance(path, str | os.PathLike):
        raise ValueError(f"path has the type {type(path).__name__}; expected a path of a model")
    text = os.fspath(path)
    if not text:
        raise ValueError("the path of the detector is empty; give a directory or a checkpoint")
    exported = model_search.find_exported_model(path)
    if exported is not None and not (converts and exported.kind is ModelKind.SAVED_MODEL):
        return exported
    if exported is not None:
        from object_detection_mtl.inference import model_files

        config_path, checkpoint = model_files.find_exported_checkpoint(exported.path)
        found = model_search.find_checkpoint(checkpoint)
        return ModelFiles(found.kind, found.path, Path(config_path))
    place = Path(text).expanduser()
    if place.suffix in (".onnx", ".xml"):
        raise FileNotFoundError(f"no model {text!r}: the file does not exist")
    if not place.exists() and not place.parent.is_dir():
        raise FileNotFoundError(f"no detector {text!r}: {str(place.parent)!r} does not exist")
    try:
        return model_search.find_checkpoint(path)
    except FileNotFoundError as error:
        if place.is_dir():
            raise FileNotFoundError(
                f"no detector in the directory {text!r}; expected an export (saved_model, "
                "model.onnx or model.xml) or the checkpoints of a training"
            ) from error
        names = [item.name for item in place.parent.iterdir()]
        raise FileNotFoundError(
            f"no detector {text!r}: {error}{suggestion(place.name, names)}"
        ) from error


def _config_of(
    files: ModelFiles, config: TrainEvalPipelineConfig | str | os.PathLike[str] | None
) -> TrainEvalPipelineConfig:
    if config is not None:
        return config_loading.as_config(config)
    if files.config_path is None:
        raise FileNotFoundError(
            f"checkpoint {files.path!r} has no {model_search.CONFIG_NAME} beside it; give "
            "load_detector(..., config=...), the configuration of its training"
        )
    return pipeline.load(files.config_path)


def _from_checkpoint(
    files: ModelFiles,
    config: TrainEvalPipelineConfig,
    class_names: Mapping[int, str] | None,
    engine: str,
    precision: str,
    auto: AutoOptions | None,
    num_streams: int,
) -> Detector:
    from object_detection_mtl.export.runtimes import runtime_conversion

    runtime_conversion.require_conversion(engine, precision, num_streams)
    if class_names is None:
        class_names = _names_beside(files, config)
    detector = detector_building.detector_of_config(config, class_names, draw_weights=False)
    load_weights(detector, files.path)
    if engine == _TENSORFLOW:
        return detector
    return Detector(
        _in_engine(detector.model, engine, precision, auto, num_streams),
        model=detector.model,
        config=config,
        class_names=detector.class_names,
        source=detector.source,
        version=f"{detector.version} {engine} {precision}{f' {auto}' if auto else ''}",
        engine=engine,
        precision=precision,
    )


def _in_engine(
    model: Any, engine: str, precision: str, auto: AutoOptions | None, num_streams: int
) -> MakePredictor:
    from object_detection_mtl.inference import runtime_predictor

    return functools.partial(
        runtime_predictor.from_detector_in_engine, model, engine, precision, auto, num_streams
    )


def _auto_options(
    path: str | os.PathLike[str],
    engine: str | None,
    candidates: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    max_difference: float,
) -> AutoOptions | None:
    """Return the options of the engine "auto"; None for another engine.

    Raises:
        FileNotFoundError: a candidate does not exist.
        ValueError: a candidate is no model.xml or model.onnx, or options of "auto" are given with
            another engine.
    """
    if engine != "auto":
        if candidates or max_difference:
            name = "auto_candidates" if candidates else "auto_max_difference"
            raise ValueError(f"{name} is for engine 'auto', not for {engine or _TENSORFLOW!r}")
        return None
    from object_detection_mtl.export.runtimes.runtime_choice import AutoOptions

    exported = model_search.find_exported_model(path)
    if isinstance(candidates, str | os.PathLike):
        candidates = [candidates]
    found = [file for place in candidates for file in model_search.find_exported_files(place)]
    if exported is not None and exported.config_path is not None:
        found += model_search.exported_files_in(exported.config_path.parent)
    return AutoOptions(tuple(dict.fromkeys(found)), max_difference)


def _names_beside(files: ModelFiles, config: TrainEvalPipelineConfig) -> dict[int, str]:
    """Return the names of the configuration's label map, else of the one beside it."""
    from object_detection_mtl.inference import model_files

    beside = files.config_path and files.config_path.with_name(model_search.LABEL_MAP_NAME)
    if not beside or not beside.is_file():
        return model_files.names_from_config(config)
    readers = [config.train_input_reader, *config.eval_input_reader]
    if any(os.path.isfile(os.path.expanduser(reader.label_map_path)) for reader in readers):
        return model_files.names_from_config(config)
    return model_files.names_from_label_map(str(beside))


def _from_export(
    files: ModelFiles,
    class_names: Mapping[int, str] | None,
    engine: str | None,
    precision: str,
    num_streams: int,
) -> Detector:
    from object_detection_mtl.export.runtimes import runtime_models
    from object_detection_mtl.inference import model_files, predictor, runtime_predictor

    config = _config_beside(files)
    if precision != _FLOAT32:
        raise ValueError(
            f"precision {precision!r} is for checkpoints; the export {files.path!r} has the "
            "precision that it was exported with"
        )
    if files.kind is ModelKind.SAVED_MODEL:
        runtime_models.check_num_streams(_TENSORFLOW, num_streams)
        staged = predictor.from_saved_model(files.path)
        names = class_names or model_files.names_from_saved_model(files.path)
    else:
        own = runtime_models.engine_of_file(files.path)
        if engine not in (None, own):
            raise ValueError(
                f"engine {engine!r} cannot read {files.path!r}, which is for {own}; omit engine"
            )
        staged = runtime_predictor.from_exported_model(files.path, num_streams)
        names = class_names or model_files.names_from_exported_model(files.path)
    predictor.warm_up(staged)
    return Detector(
        lambda images: staged,
        config=config,
        class_names=names,
        source=files.path,
        version=files.version,
    )


def _config_beside(files: ModelFiles) -> TrainEvalPipelineConfig | None:
    """Return the configuration of an export; None if it has none that can be read."""
    if files.config_path is None:
        return None
    try:
        return pipeline.load(files.config_path)
    except ValueError:  # For example the configuration of an SSD, exported by the OD API.
        return None
