"""Describe a checkpoint and the variables that a model would load from it.

    inspect_checkpoint resnet_v1_101.ckpt
    inspect_checkpoint model_dir --pipeline_config_path=faster_rcnn.config

PATH is a checkpoint prefix, or a directory, whose newest checkpoint is used. With a
pipeline.config, the second table is the one that training prints when it starts from the
checkpoint: variables that would be loaded, that are missing, that have another shape. --verbosity=1
(-v=1) lists every variable; --json prints everything as JSON. All values are read: the exit code is
1 if a file is corrupt or truncated.
"""

from __future__ import annotations

import json
from typing import Any

from absl import flags, logging

from object_detection_mtl.cli import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("checkpoint_path", None, "PATH; can be given without the flag's name.")
    flags.DEFINE_string("pipeline_config_path", None, "Config of the model that would load it.")
    flags.DEFINE_enum(
        "checkpoint_type",
        None,
        ["classification", "detection", "full"],
        "Overrides train_config.fine_tune_checkpoint_type of the config.",
    )
    flags.DEFINE_multi_string(
        "override", [], "A field of the config and its value, a.b.c=value. Can be given repeatedly."
    )
    flags.DEFINE_bool("use_moving_averages", False, "Use the moving averages of the variables.")
    flags.DEFINE_bool("json", False, "Print JSON.")


def main() -> None:
    """Print the description that the flags select."""
    if FLAGS.checkpoint_path is None:
        raise ValueError("no checkpoint given; usage: inspect_checkpoint PATH")
    from object_detection_mtl.checkpoints import (
        checkpoint_contents,
        checkpoint_files,
        checkpoint_sources,
        native,
    )

    config = detector = None
    if FLAGS.pipeline_config_path:
        config, detector = _model()
    names = () if detector is None else native.named_variables(detector)
    checkpoint = checkpoint_sources.open_any(FLAGS.checkpoint_path, names)
    described = checkpoint_contents.describe_checkpoint(checkpoint)
    full = logging.level_debug()
    if not FLAGS.json:
        print(described.table(full=full))
    report = None if detector is None else _report(config, detector, checkpoint)
    if FLAGS.json:
        groups = described.to_json()
        if report is not None:
            groups["would_load"] = report.to_json()
        print(json.dumps(groups, indent=1))
    elif report is not None:
        print(f"into {FLAGS.pipeline_config_path}: {report.table(full=full)}")
    checkpoint_files.verify_values(checkpoint)


def _model() -> tuple[Any, Any]:
    """Return the config and its detector."""
    from object_detection_mtl.builders import model_builder
    from object_detection_mtl.config import pipeline

    config = pipeline.load(FLAGS.pipeline_config_path, FLAGS.override)
    return config, model_builder.build(config.model, is_training=True)


def _report(config: Any, detector: Any, checkpoint: Any) -> Any:
    """Return the report of a restore by training with the config."""
    from object_detection_mtl.builders import mtl_builder, train_config_builder
    from object_detection_mtl.checkpoints import restore

    request = train_config_builder.restore_request(
        config.train_config,
        mtl_builder.fresh_scopes(config.model.mtl),
        checkpoint_type=FLAGS.checkpoint_type,
        use_moving_averages=FLAGS.use_moving_averages,
    )
    return restore.preview_restore(detector, checkpoint, request)


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "", positional="checkpoint_path")


if __name__ == "__main__":
    run()
