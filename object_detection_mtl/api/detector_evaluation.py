"""Evaluation of a detector, or of a training's checkpoints, on any dataset."""

from __future__ import annotations

import hashlib
import os
import tempfile
from typing import TYPE_CHECKING, Any

from object_detection_mtl.api import config_loading, dataset_config, model_search
from object_detection_mtl.config.errors import ConfigError, suggestion

if TYPE_CHECKING:
    from object_detection_mtl.api.detector import Detector
    from object_detection_mtl.protos.pipeline_pb2 import TrainEvalPipelineConfig
    from object_detection_mtl.reporting.report_contents import ReportOptions

# Short names of the metrics.
METRICS = {"coco": "coco_detection_metrics", "voc": "pascal_voc_detection_metrics"}


def evaluate_detector(
    detector: Detector,
    dataset: Any = None,
    *,
    metrics: str | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    report: str | os.PathLike[str] | None = None,
    report_options: ReportOptions | None = None,
    on_train_data: bool = False,
) -> dict[str, float]:
    """Evaluate the present weights of a detector, or an exported model, and print the metrics.

    An exported model has no losses and no metrics of auxiliary tasks, and neither has a detector
    that was loaded with another engine than TensorFlow.

    Args:
        detector: the detector.
        dataset: record files, a VOC directory (with sets: its set "val"), a COCO pair or examples,
            as for `train_detector`; None for the records of the detector's configuration.
        metrics: "voc" or "coco"; None for those of the configuration (of an exported model without
            one: "coco").
        output_dir: directory of the metrics as JSON and TensorBoard's events, in
            `eval/<name of the input reader>`; None writes none.
        report: directory of a report of the detector's errors, one HTML file; None for none.
        report_options: options of the report.
        on_train_data: without `dataset`: evaluate on the training records, not augmented.

    Returns:
        TensorBoard name, such as "PascalBoxes_Precision/mAP@0.5IOU" -> value.

    Raises:
        FileNotFoundError: a file of the dataset does not exist.
        ValueError: the dataset, an example or an argument is unusable.

    Example:
        >>> import numpy as np
        >>> import object_detection_mtl as odm
        >>> detector = odm.load_detector("run")
        >>> image = np.zeros((64, 80, 3), np.uint8)
        >>> example = {"image": image, "boxes": [[10, 20, 50, 60]], "labels": [1]}
        >>> found = odm.evaluate_detector(detector, [example], metrics="voc")
        >>> 0 <= found["PascalBoxes_Precision/mAP@0.5IOU"] <= 1
        True
    """
    from object_detection_mtl.config import validation

    config = _with_metrics(_config_of(detector, metrics), metrics)
    with tempfile.TemporaryDirectory() as scratch:
        if dataset is not None:
            changed = dataset_config.DatasetConfig(config, scratch, detector.class_names)
            changed.set_validation(dataset)
            config = changed.config
        elif not on_train_data:
            dataset_config.refuse_placeholders(
                config.eval_input_reader, "evaluate_detector", "dataset"
            )
            validation.require_evaluation(config)
        return _evaluate(
            detector,
            config,
            os.path.expanduser(output_dir or os.path.join(scratch, "metrics")),
            _request(report, report_options),
            on_train_data=on_train_data and dataset is None,
        )


def evaluate_checkpoints(
    checkpoint_dir: str | os.PathLike[str],
    dataset: Any = None,
    *,
    config: TrainEvalPipelineConfig | str | os.PathLike[str] | None = None,
    metrics: str | None = None,
    output_dir: str | os.PathLike[str] | None = None,
    once: bool = False,
    timeout: float = 3600.0,
    min_interval: float | None = None,
    num_steps: int | None = None,
    on_train_data: bool = False,
    report: str | os.PathLike[str] | None = None,
    engine: str = "tensorflow",
    precision: str = "float32",
    on_damaged_checkpoint: str = "fallback",
) -> dict[str, float]:
    """Evaluate the newest checkpoint, then every new one until the training has ended.

    For a second process beside a training; `train_detector(..., validation=...)` evaluates in the
    training itself.

    Args:
        checkpoint_dir: directory of the training; or the prefix of one checkpoint, which is
            evaluated once.
        dataset: see `evaluate_detector`; None for the validation records of the configuration.
        config: configuration of the training. Default: the pipeline.config of the directory, which
            the training writes when it starts.
        metrics: "voc" or "coco"; None for those of the configuration.
        output_dir: directory of the metrics as JSON and TensorBoard's events, in
            `eval/<name of the input reader>`. Default: that of the checkpoints.
        once: evaluate the newest checkpoint and return.
        timeout: maximum seconds to wait for a new checkpoint.
        min_interval: minimum seconds between two evaluations; None for
            eval_config.eval_interval_secs.
        num_steps: step at which the training ends; None for train_config.num_steps.
        on_train_data: without `dataset`: evaluate on the training records, not augmented.
        report: directory of a report of one checkpoint's errors.
        engine: runtime of the detector; see `load_detector`.
        precision: see `load_detector`.
        on_damaged_checkpoint: "fallback" evaluates the newest complete checkpoint; "fail" stops if
            the newest is corrupt.

    Returns:
        The metrics of the last evaluation; see `evaluate_detector`.

    Raises:
        FileNotFoundError: there is no configuration, or no checkpoint appeared in time.
        ValueError: the dataset or an argument is unusable.

    Example:
        >>> import numpy as np
        >>> import object_detection_mtl as odm
        >>> image = np.zeros((64, 80, 3), np.uint8)
        >>> example = {"image": image, "boxes": [[10, 20, 50, 60]], "labels": [1]}
        >>> found = odm.evaluate_checkpoints("run", [example], metrics="voc", once=True)
        >>> 0 <= found["PascalBoxes_Precision/mAP@0.5IOU"] <= 1
        True
    """
    from object_detection_mtl import jobs
    from object_detection_mtl.inference import model_files

    directory = os.path.expanduser(os.fspath(checkpoint_dir))
    if config is None:
        config = model_search.find_config(directory)
    resolved = _with_metrics(config_loading.as_config(config), metrics)
    with tempfile.TemporaryDirectory() as scratch:
        if dataset is not None:
            names = model_files.names_from_config(resolved)
            changed = dataset_config.DatasetConfig(resolved, scratch, names)
            changed.set_validation(dataset)
            resolved = changed.config
        default = directory if os.path.isdir(directory) else os.path.dirname(directory) or "."
        return jobs.evaluate(
            resolved,
            directory,
            os.path.expanduser(output_dir or default),
            timeout=timeout,
            min_interval=min_interval,
            once=once,
            on_train_data=on_train_data and dataset is None,
            num_train_steps=num_steps,
            engine=engine,
            precision=precision,
            report=_request(report, None),
            on_damaged_checkpoint=on_damaged_checkpoint,
        )


def _evaluate(
    detector: Detector,
    config: TrainEvalPipelineConfig,
    output_dir: str,
    report: Any,
    *,
    on_train_data: bool,
) -> dict[str, float]:
    from object_detection_mtl.builders import evaluation_builder
    from object_detection_mtl.checkpoints import checkpoint_contents

    step = 0
    if detector.model is None:
        evaluation = evaluation_builder.build_evaluation(
            config,
            output_dir,
            predict=lambda image: detector.predictor(lambda: [image])(image),
            on_train_data=on_train_data,
            report=report,
        )
        version = detector.version
    else:
        evaluation = evaluation_builder.build_evaluation(
            config,
            output_dir,
            detector=detector.model,
            on_train_data=on_train_data,
            engine=detector.engine,
            precision=detector.precision,
            report=report,
        )
        version = _fingerprint(detector.model)
        if detector.source:
            step = checkpoint_contents.global_step_at(detector.source)
    name = detector.source or "weights in memory"
    print(f"evaluating {name} (step {step})", flush=True)
    return evaluation.evaluate_weights(step, name, version)


def _fingerprint(model: Any) -> str:
    """Return a digest of all weights."""
    from object_detection_mtl.checkpoints import native

    digest = hashlib.sha256()
    for name, variable in sorted(native.named_variables(model).items()):
        digest.update(name.encode())
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()


def _request(report: str | os.PathLike[str] | None, options: Any) -> Any:
    if report is None:
        if options is not None:
            raise ValueError("report_options need a report; give its directory: report=...")
        return None
    from object_detection_mtl import output_paths
    from object_detection_mtl.reporting.checkpoint_report import ReportRequest
    from object_detection_mtl.reporting.report_contents import ReportOptions

    output_paths.check_output_directory("report", os.fspath(report))
    return ReportRequest(os.path.expanduser(report), options or ReportOptions())


def _config_of(detector: Detector, metrics: str | None) -> TrainEvalPipelineConfig:
    """Return the configuration of a detector; of a foreign export a minimal one."""
    if detector.config is not None:
        return detector.config
    from object_detection_mtl.protos import pipeline_pb2

    if not detector.class_names:
        raise ValueError(
            f"{detector.source!r} has neither a configuration nor class names; give "
            "load_detector(..., class_names=...)"
        )
    config = pipeline_pb2.TrainEvalPipelineConfig()
    config.model.faster_rcnn.num_classes = max(detector.class_names)
    config.model.faster_rcnn.number_of_stages = 2
    config.eval_config.metrics_set.append(METRICS[metrics or "coco"])
    return config


def _with_metrics(config: TrainEvalPipelineConfig, metrics: str | None) -> TrainEvalPipelineConfig:
    if metrics is None:
        return config
    if metrics not in METRICS:
        raise ConfigError(
            f"metrics is {metrics!r}; expected {' or '.join(METRICS)}{suggestion(metrics, METRICS)}"
        )
    changed = type(config)()
    changed.CopyFrom(config)
    changed.eval_config.metrics_set[:] = [METRICS[metrics]]
    return changed
