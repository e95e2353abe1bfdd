r"""Convert a checkpoint to this package's format or that of the OD API on TensorFlow 1.

    convert_checkpoint ckpt-0 --pipeline_config_path=pipeline.config --output_path=converted/ckpt-0
    convert_checkpoint model_dir --pipeline_config_path=pipeline.config --format=tf1_detection \
        --output_path=converted/model.ckpt

The pipeline.config describes the model. A detector's checkpoint must contain all of its variables
(--checkpoint_type=detection: only those of the feature extractors); of a classifier's checkpoint,
only the variables that it contains are written. Training continues from the result with
fine_tune_checkpoint.
"""

from __future__ import annotations

import os

from absl import flags

from object_detection_mtl.cli import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string(
        "checkpoint_path",
        None,
        "Prefix of the checkpoint to read, or a directory, whose newest checkpoint is used; can be "
        "given without the flag's name.",
    )
    flags.DEFINE_string("pipeline_config_path", None, "Config of the model of the checkpoint.")
    flags.DEFINE_string("output_path", None, "Prefix of the output, such as converted/ckpt-0.")
    flags.DEFINE_enum(
        "format",
        "native",
        ["native", "tf1_detection"],
        "native: the format of training in this package. tf1_detection: the names of the "
        "TensorFlow 1 Object Detection API and of the authors' code.",
    )
    flags.DEFINE_enum(
        "checkpoint_type",
        None,
        ["classification", "detection", "full"],
        "Variables to convert. Default: full for a detector, classification for a classifier.",
    )
    flags.DEFINE_bool("use_moving_averages", False, "Use the moving averages of the variables.")
    flags.DEFINE_multi_string(
        "override", [], "A field of the config and its value, a.b.c=value. Can be given repeatedly."
    )
    flags.mark_flags_as_required(["pipeline_config_path", "output_path"])


def main() -> None:
    """Convert the checkpoint that the flags select."""
    if FLAGS.checkpoint_path is None:
        raise ValueError("no checkpoint given; usage: convert_checkpoint PATH --output_path=...")
    from object_detection_mtl.builders import model_builder
    from object_detection_mtl.checkpoints import (
        checkpoint_contents,
        checkpoint_conversion,
        checkpoint_sources,
        native,
        restore,
    )
    from object_detection_mtl.config import pipeline

    output = os.path.expanduser(FLAGS.output_path)
    checkpoint_conversion.check_output(output)
    config = pipeline.load(FLAGS.pipeline_config_path, FLAGS.override)
    detector = model_builder.build(config.model, is_training=True)
    checkpoint = checkpoint_sources.open_any(
        FLAGS.checkpoint_path, native.named_variables(detector)
    )
    is_detector = checkpoint_sources.source_of(checkpoint).is_detector(checkpoint)
    report = restore.restore(
        detector,
        checkpoint.prefix,
        checkpoint_type=FLAGS.checkpoint_type
        or (restore.FULL if is_detector else restore.CLASSIFICATION),
        use_moving_averages=FLAGS.use_moving_averages,
    )
    checkpoint_conversion.write_checkpoint(
        detector,
        output,
        form=FLAGS.format,
        names=report.loaded,
        step=checkpoint_contents.global_step_of(checkpoint),
    )
    print(f"wrote {len(report.loaded)} variables to {output} ({FLAGS.format})")


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "", positional="checkpoint_path")


if __name__ == "__main__":
    run()
