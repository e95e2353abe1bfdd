"""Fit the refiner of a trained detector again, without training."""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tensorflow as tf

from object_detection_mtl.builders import input_reader_builder, model_builder
from object_detection_mtl.checkpoints import (
    checkpoint_contents,
    checkpoint_conversion,
    checkpoint_search,
    loading,
    native,
)
from object_detection_mtl.checkpoints.checkpoint_files import CheckpointFile
from object_detection_mtl.config import pipeline
from object_detection_mtl.data import record_files
from object_detection_mtl.evaluation.refiner_inputs import RefinerInputs, collect_refiner_inputs
from object_detection_mtl.fields import ScoreSource
from object_detection_mtl.mtl.refinement import Refiner
from object_detection_mtl.training import refiner_fit
from object_detection_mtl.training.refiner_fit import ClassFit, FitOptions, RefinerFit

REPORT = "refit.json"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RefitRequest:
    """Records, images and options of a fit.

    Attributes:
        records: patterns of the records to fit to; empty for those of train_input_reader.
        held_out_records: patterns of the records to judge the fit by. Empty: a fifth of the images
            of `records` is held out; for the records of the training, whose images the detector
            knows, those of the first eval_input_reader judge it.
        num_images: number of images to read of each, evenly spaced; None for all.
        jitter: number of moved copies of all proposals that are added to those to fit to.
        seed: seed of the jitter.
        fit: regularization and weights.
    """

    records: Sequence[str] = ()
    held_out_records: Sequence[str] = ()
    num_images: int | None = None
    jitter: int = 0
    seed: int = 0
    fit: FitOptions = field(default_factory=FitOptions)


def refit_refiner(
    config: Any, checkpoint_path: str, output_dir: str | os.PathLike[str], request: RefitRequest
) -> RefinerFit:
    """Fit the refiner's linear layer again and write the checkpoint with it to a new directory.

    `output_dir` gets `pipeline.config`, a checkpoint that evaluates, exports and continues as the
    given one, and `refit.json`. If the fit does not help on the images held out, the checkpoint
    keeps its weights.

    A run without refinement gets a refiner, `with_refiner`, and so does one whose refiner reads
    other inputs than the config says, such as those of other `refine_windows`. Its checkpoint holds
    no state of the optimizer: it evaluates and exports, and a new run may start from it.

    Args:
        config: resolved, that of the training.
        checkpoint_path: checkpoint prefix, or checkpoint directory for its newest checkpoint.
        output_dir: a new or empty directory.
        request: see `RefitRequest`.

    Raises:
        ValueError: a refiner with hidden layers, an output directory with other contents, a
            checkpoint of another kind or model, or too few images.
        FileNotFoundError: there is no checkpoint, or no record.
    """
    output = Path(output_dir)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"{output} exists and is not an empty directory; give a new --output_dir")
    checkpoint = checkpoint_search.open_checkpoint(checkpoint_path)
    config, detector, is_new = _load(config, checkpoint.prefix)
    found = fit_detector(config, detector, request)
    names = {
        name: variable
        for name, variable in native.named_variables(detector).items()
        if any(variable is mine for mine in detector.refiner.trainable_variables)
    }
    if found.helps:
        detector.refiner.set_linear(found.linear.kernel, found.linear.bias)
    values = {name: variable.numpy() for name, variable in names.items()} if found.helps else {}
    prefix = str(output / os.path.basename(checkpoint.prefix))
    if is_new:
        checkpoint_conversion.write_checkpoint(
            detector,
            prefix,
            form=checkpoint_conversion.NATIVE,
            names=native.named_variables(detector),
            step=checkpoint_contents.global_step_at(checkpoint.prefix),
        )
    else:
        checkpoint_conversion.write_changed_checkpoint(checkpoint, prefix, values)
    pipeline.save(config, output / "pipeline.config")
    content = {"checkpoint": os.path.basename(checkpoint.prefix), **describe_fit(found)}
    (output / REPORT).write_text(json.dumps(content, indent=1) + "\n")
    return found


def fit_detector(config: Any, detector: Any, request: RefitRequest) -> RefinerFit:
    """Return the fit of a detector's refiner; the detector keeps its weights.

    Args:
        config: of the detector.
        detector: from `load_refining_detector`.
        request: see `RefitRequest`.
    """
    given = collect(config, detector, request, request.records, jitter=request.jitter)
    judges = list(request.held_out_records)
    if not judges and not request.records:
        judges = _new_records(config)
    if judges:
        held_out = collect(config, detector, request, judges)
        return refiner_fit.fit_refiner(given, held_out, request.fit)
    return refiner_fit.fit_refiner(*refiner_fit.split_images(given), request.fit)


def _new_records(config: Any) -> list[str]:
    """Return the records of the first eval_input_reader if they are not those of the training."""
    if not config.eval_input_reader:
        return []
    paths = _records_of(config.eval_input_reader[0])
    return [] if paths == _records_of(config.train_input_reader) else paths


def report_removable(
    config: Any, checkpoint_path: str, request: RefitRequest, evaluated_records: Sequence[str] = ()
) -> dict[str, dict[str, ClassFit]]:
    """Return what a refiner could remove, on images of the training and on others.

    Args:
        config: resolved, that of the training.
        checkpoint_path: checkpoint prefix, or checkpoint directory for its newest checkpoint.
        request: see `RefitRequest`; `held_out_records` and `jitter` are ignored.
        evaluated_records: patterns of records that the detector was not trained on; empty for
            those of the first eval_input_reader.

    Returns:
        "training" and "evaluation" -> what detects -> its fit. Logits of "cross-fitted: ..." come
        from fits to other images of the same records, by what the refiner reads. "refitted" on
        "evaluation" was fitted to all images of "training".
    """
    config, detector, _ = _load(config, checkpoint_path)
    evaluated = evaluated_records or _records_of(config.eval_input_reader[0])
    sets = {
        "training": collect(config, detector, request, request.records),
        "evaluation": collect(config, detector, request, evaluated),
    }
    options = request.fit
    found: dict[str, dict[str, ClassFit]] = {}
    for name, part in sets.items():
        found[name] = {
            ScoreSource.main_logits: refiner_fit.class_fit(part.main, part, options),
            ScoreSource.as_trained: refiner_fit.class_fit(part.refined, part, options),
        }
        for groups, fit in refiner_fit.removable(part, options).items():
            found[name][f"cross-fitted: {groups}"] = fit
    linear, _ = refiner_fit.fit_groups(sets["training"], options)
    part = sets["evaluation"]
    logits = linear.logits(part.inputs(), part.main)
    found["evaluation"][ScoreSource.refitted] = refiner_fit.class_fit(logits, part, options)
    return found


def with_refiner(config: Any) -> Any:
    """Return a config with refinement; one that had none adds the main logits to the refiner's."""
    if config.model.mtl.refine:
        return config
    changed = type(config)()
    changed.CopyFrom(config)
    changed.model.mtl.refine = changed.model.mtl.refine_residue = True
    return changed


def _load(config: Any, checkpoint_path: str) -> tuple[Any, Any, bool]:
    """Return the config with refinement, its detector, and whether the refiner is new."""
    refining = with_refiner(config)
    detector, is_new = load_refining_detector(refining, checkpoint_path)
    if is_new and config.model.mtl.refine:
        _logger.warning(
            "the refiner of %s is replaced: it does not read the %d inputs of the config",
            checkpoint_path,
            detector.refiner.width,
        )
    return refining, detector, is_new


def load_refining_detector(config: Any, checkpoint_path: str) -> tuple[Any, bool]:
    """Return the trained detector, for inference, and whether its refiner is new.

    A refiner that the checkpoint lacks, or has for other inputs, is 0 and changes nothing yet.

    Args:
        config: of `with_refiner`.
        checkpoint_path: checkpoint prefix, or checkpoint directory for its newest checkpoint.

    Raises:
        ValueError: the refiner has hidden layers; the checkpoint is of another model.
        FileNotFoundError: there is no checkpoint.
    """
    averages = config.eval_config.use_moving_averages
    detector = model_builder.build(config.model, is_training=False)
    assert detector.refiner is not None
    detector.refiner.require_linear()
    if _has_refiner(checkpoint_search.open_checkpoint(checkpoint_path), detector.refiner):
        loading.load_detector_weights(detector, checkpoint_path, use_moving_averages=averages)
        return detector, False
    model = type(config.model)()
    model.CopyFrom(config.model)
    model.mtl.refine = False
    trained = model_builder.build(model, is_training=False)
    loading.load_detector_weights(trained, checkpoint_path, use_moving_averages=averages)
    values = native.named_variables(trained)
    for name, variable in native.named_variables(detector).items():
        variable.assign(values.get(name, tf.zeros_like(variable)))
    return detector, True


def _has_refiner(checkpoint: CheckpointFile, refiner: Refiner) -> bool:
    """Return whether the weights of a refiner with the same inputs are in a checkpoint."""
    variables = refiner.tf1_variables()
    return any(
        all(
            checkpoint.shapes.get(key(name)) == variable.shape
            for name, variable in variables.items()
        )
        for key in (str, functools.partial(native.checkpoint_key, native.MODEL_ROOT))
    )


def reader_of(config: Any, request: RefitRequest, records: Sequence[str]) -> Any:
    """Return the input reader of some records; of those of train_input_reader if none are given.

    Of the records of train_input_reader, its images are those of the training, 1 of
    `sample_1_of_n_examples`; given records are read whole. `num_images` spreads evenly over them.
    """
    reader = type(config.train_input_reader)()
    reader.CopyFrom(config.train_input_reader)
    paths = list(records) or _records_of(reader)
    reader.tf_record_input_reader.input_path[:] = paths
    every = 1 if records else reader.sample_1_of_n_examples
    if request.num_images is not None:
        every *= max(1, len(record_files.index_records(paths)) // every // request.num_images)
    reader.sample_1_of_n_examples = every
    return reader


def collect(
    config: Any, detector: Any, request: RefitRequest, records: Sequence[str], jitter: int = 0
) -> RefinerInputs:
    """Return the refiner's inputs on the images of `reader_of`."""
    reader = reader_of(config, request, records)
    dataset = input_reader_builder.build_dataset(
        reader,
        preprocess_fn=input_reader_builder.preprocess_one(detector),
        num_classes=detector.num_classes,
        batch_size=config.eval_config.batch_size,
        is_training=False,
    )
    return collect_refiner_inputs(
        detector, dataset, num_images=request.num_images, jitter=jitter, seed=request.seed
    )


def _records_of(reader: Any) -> list[str]:
    return list(reader.tf_record_input_reader.input_path)


def describe_fit(found: RefinerFit) -> dict[str, Any]:
    """Return a fit without its weights, for JSON."""
    return {
        "l2": found.l2,
        "helps": found.helps,
        "images": dict(zip(("fitted", "held_out"), found.num_images, strict=True)),
        "proposals": dict(zip(("fitted", "held_out"), found.num_proposals, strict=True)),
        "fitted": _describe_fits(found.fitted),
        "held_out": _describe_fits(found.held_out),
    }


def _describe_fits(fits: Mapping[str, ClassFit]) -> dict[str, dict[str, float | None]]:
    return {
        name: {
            key: None if math.isnan(value) else round(value, 6)
            for key, value in dataclasses.asdict(fit).items()
        }
        for name, fit in fits.items()
    }


def table_of_fits(columns: Mapping[str, Mapping[str, ClassFit]]) -> str:
    """Return a table: what detects, and its cross-entropy and accuracy on each set of images.

    Args:
        columns: title of a set of images -> what detects -> its fit there.
    """
    rows = list(dict.fromkeys(name for fits in columns.values() for name in fits))
    width = max(len(name) for name in rows)
    lines = [
        f"{'':{width}}" + "".join(f"  {title:>24}" for title in columns),
        f"{'':{width}}" + "  cross-entropy   accuracy" * len(columns),
    ]
    for name in rows:
        cells = [_cell(fits.get(name)) for fits in columns.values()]
        lines.append(f"{name:{width}}" + "".join(cells))
    return "\n".join(line.rstrip() for line in lines)


def _cell(fit: ClassFit | None) -> str:
    return " " * 26 if fit is None else f"  {fit.cross_entropy:>13.4f}{fit.accuracy:>11.3f}"
