r"""Evaluate a trained detector on the records of its config; write a report.

    evaluate_detector --pipeline_config_path=run/pipeline.config --checkpoint_dir=run \
        --report=report

The same evaluation as model_main_tf2 --eval_once: of the newest checkpoint of a directory, or of
the one whose prefix is given. Prints the metrics and writes them, for TensorBoard and as JSON, to
`eval/<name of the input reader>` in the run's directory. With --report also report.html (one file,
needs no network), metrics.json and classes.csv.
"""

from __future__ import annotations

import os

from absl import flags

from object_detection_mtl import output_paths
from object_detection_mtl.cli import command_line, process_settings

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("pipeline_config_path", None, "The pipeline.config of the training.")
    flags.DEFINE_string(
        "checkpoint_dir", None, "Directory of checkpoints, or the prefix of one checkpoint."
    )
    flags.DEFINE_string(
        "model_dir", None, "Directory of the metrics. Default: the checkpoint's directory."
    )
    flags.DEFINE_string("report", None, "Directory of the report; created if it does not exist.")
    flags.DEFINE_multi_string("override", [], "A field of the config and its value, a.b.c=value.")
    flags.DEFINE_bool(
        "eval_on_train_data", False, "Evaluate on the train_input_reader's data, not augmented."
    )
    flags.DEFINE_integer(
        "sample_1_of_n_eval_examples",
        None,
        "Evaluate one of n examples, instead of the config's value.",
        lower_bound=1,
    )
    flags.DEFINE_enum(
        "engine",
        "tensorflow",
        ("tensorflow", "openvino", "onnxruntime", "auto"),
        "Runtime of the detector. All but TensorFlow convert the checkpoint, and compute no losses "
        "and no metrics of auxiliary tasks. auto uses the fastest installed runtime whose "
        "detections on the first batch equal TensorFlow's.",
    )
    flags.DEFINE_enum(
        "engine_precision",
        "float32",
        ("float32", "bfloat16"),
        "Precision of the convolutions in OpenVINO. bfloat16 is for CPUs with instructions for it.",
    )
    flags.DEFINE_float(
        "min_score",
        0.5,
        "Minimum score of detections in confusion matrix, recall, missed objects and gallery.",
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_integer(
        "gallery_images",
        300,
        "Images in the report's gallery: those with the most and most confident mistakes. -1: all.",
        lower_bound=-1,
    )
    flags.mark_flags_as_required(["pipeline_config_path", "checkpoint_dir"])


def main() -> int:
    """Evaluate the checkpoint."""
    output_paths.check_output_directory("report", FLAGS.report)
    process_settings.keep_freed_memory()
    import object_detection_mtl as odm
    from object_detection_mtl.reporting.report_contents import ReportOptions

    options = ReportOptions(
        min_score=FLAGS.min_score,
        max_gallery_images=None if FLAGS.gallery_images < 0 else FLAGS.gallery_images,
    )
    config = odm.load_config(FLAGS.pipeline_config_path, FLAGS.override)
    if FLAGS.sample_1_of_n_eval_examples is not None:
        readers = [config.train_input_reader, *config.eval_input_reader[:1]]
        for reader in readers:
            reader.sample_1_of_n_examples = FLAGS.sample_1_of_n_eval_examples
    checkpoint = FLAGS.checkpoint_dir
    default = checkpoint if os.path.isdir(checkpoint) else os.path.dirname(checkpoint)
    detector = odm.load_detector(
        checkpoint, config=config, engine=FLAGS.engine, precision=FLAGS.engine_precision
    )
    odm.evaluate_detector(
        detector,
        output_dir=FLAGS.model_dir or default or ".",
        report=FLAGS.report,
        report_options=options if FLAGS.report else None,
        on_train_data=FLAGS.eval_on_train_data,
    )
    return 0


def run() -> None:
    """Run the command line."""
    command_line.run_command(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
