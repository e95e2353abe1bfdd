"""Says what a checkpoint is, what is in it, and what of it would be loaded into a model.

    inspect_checkpoint resnet_v1_101.ckpt
    inspect_checkpoint model_dir --pipeline_config_path=faster_rcnn.config

PATH is the prefix of a checkpoint's files, or a directory whose newest checkpoint is meant. With a
pipeline.config, the second table is the one that training would print when it starts from the
checkpoint: what would be loaded, what is missing, what has another shape. --verbosity=1 (-v=1)
lists every variable; --json writes everything as JSON.
"""

from __future__ import annotations

import json
from typing import Any

from absl import flags, logging

from object_detection_mtl.cli import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("checkpoint_path", None, "PATH; can be given without the flag's name.")
    flags.DEFINE_string("pipeline_config_path", None, "The model that would load it.")
    flags.DEFINE_enum(
        "checkpoint_type",
        None,
        ["classification", "detection", "full"],
        "Instead of the config's train_config.fine_tune_checkpoint_type.",
    )
    flags.DEFINE_multi_string(
        "override", [], "A field of the config and its value, a.b.c=value. Can be given repeatedly."
    )
    flags.DEFINE_bool("use_moving_averages", False, "Take the averages that training kept.")
    flags.DEFINE_bool("json", False, "Write JSON.")


def main() -> None:
    if FLAGS.checkpoint_path is None:
        raise ValueError("no checkpoint given; usage: inspect_checkpoint PATH")
    from object_detection_mtl.checkpoints import checkpoint_contents, checkpoint_sources, native

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


def _model() -> tuple[Any, Any]:
    """The config and its detector."""
    from object_detection_mtl.builders import model_builder
    from object_detection_mtl.config import pipeline

    config = pipeline.load(FLAGS.pipeline_config_path, FLAGS.override)
    return config, model_builder.build(config.model, is_training=True)


def _report(config: Any, detector: Any, checkpoint: Any) -> Any:
    """What training with the config would load."""
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
    command_line.run(define_flags, main, __doc__ or "", positional="checkpoint_path")


if __name__ == "__main__":
    run()
