"""Check of a configuration with its files: all problems at once, and what would be trained."""

from __future__ import annotations

import collections
import functools
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import tensorflow as tf

from object_detection_mtl.builders import (
    augmentation_builder,
    input_reader_builder,
    label_builder,
    model_builder,
    mtl_builder,
    train_config_builder,
)
from object_detection_mtl.checkpoints import checkpoint_sources, native, restore
from object_detection_mtl.config import pipeline
from object_detection_mtl.data import example_decoder, record_files
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.training import step_cost

_NUM_SAMPLES = 20
_ERRORS = (ValueError, OSError, tf.errors.OpError)


@dataclass
class ConfigCheck:
    """Result of a check.

    Attributes:
        problems: one line each; none if every job can run.
        notes: lines about the data, the checkpoint, the model and its cost.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def attempt(self, what: str, action: Callable[[], Any]) -> Any:
        """Return the result of `action`; None, and a problem, if it fails."""
        try:
            return action()
        except _ERRORS as error:
            text = error.message if isinstance(error, tf.errors.OpError) else str(error)
            self.problems.append(f"{what}: {text.strip()}")
            return None


def check_config(
    path: str | os.PathLike[str], overrides: Iterable[str] = (), *, with_cost: bool = True
) -> ConfigCheck:
    """Load, validate and build everything that a configuration names, without training.

    Args:
        path: the config.
        overrides: see `config.pipeline.load`.
        with_cost: also estimate memory and time of a step.

    Raises:
        FileNotFoundError: the config does not exist.
        ConfigError: its text cannot be read, or the model is of another kind.
    """
    config, problems = pipeline.read_with_problems(os.fspath(path), overrides)
    check = ConfigCheck(problems)
    has_training = config.HasField("train_config")
    if has_training:
        check.attempt("train_input_reader", lambda: _check_reader(check, config, training=True))
        check.attempt("train_config", lambda: _check_augmentation(config))
    for reader in config.eval_input_reader[:1]:
        name = f"eval_input_reader {reader.name}".strip()
        check.attempt(name, lambda: _check_reader(check, config, training=False))
    detector = check.attempt("model", lambda: model_builder.build(config.model, is_training=True))
    if detector is None:
        return check
    model = None
    if has_training:
        model = check.attempt("train_config", lambda: _trainable(config.train_config, detector))
        if config.train_config.fine_tune_checkpoint:
            check.attempt(
                "fine_tune_checkpoint", lambda: _check_checkpoint(check, config, detector)
            )
    check.notes += parts_table(detector, {} if model is None else model.trained)
    batch = config.train_config.batch_size
    if with_cost and model is not None and batch > 0:
        cost = check.attempt("estimate", lambda: step_cost.estimate_step(detector, batch, model))
        if cost is not None:
            check.notes += cost.lines()
    return check


def _trainable(config: Any, detector: Any) -> Any:
    """Return the detector as it is trained on this machine."""
    bfloat16 = train_config_builder.choose_bfloat16(config, tf.distribute.get_strategy())
    return train_config_builder.build_model(config, detector, bfloat16=bfloat16)


def _check_reader(check: ConfigCheck, config: Any, *, training: bool) -> None:
    """Open the label map and the records of a reader, and decode a sample of them."""
    name = "train_input_reader" if training else "eval_input_reader"
    reader = config.train_input_reader if training else config.eval_input_reader[0]
    num_classes = config.model.faster_rcnn.num_classes
    categories = check.attempt(
        f"{name}.label_map_path",
        lambda: input_reader_builder.load_label_map(reader, num_classes),
    )
    index = record_files.index_records(list(reader.tf_record_input_reader.input_path))
    check.notes.append(f"{name}: {len(index)} records in {len(index.files)} files")
    decode = example_decoder.make_decoder(
        num_classes, categories, prefer_display_name=reader.use_display_name
    )
    counts: collections.Counter[int] = collections.Counter()
    sample = index.every(max(1, len(index) // _NUM_SAMPLES))
    for number in range(len(sample)):
        place = sample.files[sample.file_numbers[number]]
        at = f"{place} at byte {sample.offsets[number]}"
        decoding = functools.partial(_decoded, decode, sample, number, at)
        example = check.attempt(f"{name}: {at}", decoding)
        if example is not None:
            counts.update(example[Groundtruth.classes].numpy().tolist())
    names = {category.id: category.name for category in categories or ()}
    check.notes.append(
        f"  objects in a sample of {len(sample)} records: "
        + (", ".join(f"{names.get(i, i)} {n}" for i, n in counts.most_common(10)) or "none")
    )
    if categories is not None or not reader.label_map_path:  # else the label map is the problem
        check.attempt(
            name,
            lambda: input_reader_builder.examine_records(
                reader, config.model.faster_rcnn, is_training=training
            ),
        )


def _decoded(decode: Any, index: record_files.RecordIndex, number: int, name: str) -> Any:
    path = tf.constant(index.files[index.file_numbers[number]])
    # Inside a graph: TensorFlow's eager iterator does not take an offset.
    offsets = tf.data.Dataset.from_tensors(tf.constant(index.offsets[number], tf.int64))
    serialized = next(iter(offsets.flat_map(lambda offset: record_files.record_at(path, offset))))
    return decode(example_decoder.parse_now(serialized, name), tf.constant(name))


def _check_augmentation(config: Any) -> None:
    steps = config.train_config.data_augmentation_options
    augmentation_builder.build_all(steps)
    label_builder.check_augmentation(label_builder.build(config.model), steps)


def _check_checkpoint(check: ConfigCheck, config: Any, detector: Any) -> None:
    path = os.path.expanduser(config.train_config.fine_tune_checkpoint)
    checkpoint = checkpoint_sources.open_any(path, native.named_variables(detector))
    request = train_config_builder.restore_request(
        config.train_config, mtl_builder.fresh_scopes(config.model.mtl)
    )
    report = restore.preview_restore(detector, checkpoint, request)
    check.notes.append(f"fine_tune_checkpoint {path}: {report.table()}")
    for group, names in (("missing", report.missing), ("of another shape", report.mismatched)):
        if names:
            check.problems.append(
                f"fine_tune_checkpoint: {len(names)} variables are {group}, such as {names[0]}"
            )


def parts_table(detector: Any, trained: Any) -> list[str]:
    """Return a table of the model's parts: parameters, and how many of them are trained."""
    sizes: dict[str, list[int]] = {}
    for name, variable in native.named_variables(detector).items():
        row = sizes.setdefault(name.split("/")[0], [0, 0])
        count = int(tf.size(variable.value))
        row[0] += count
        row[1] += count if name in trained else 0
    lines = [f"{'part of the model':<32}{'parameters':>14}{'trained':>14}{'frozen':>14}"]
    sizes["all"] = [sum(row[i] for row in sizes.values()) for i in (0, 1)]
    return lines + [
        f"{name:<32}{total:>14,}{some:>14,}{total - some:>14,}"
        for name, (total, some) in sizes.items()
    ]
