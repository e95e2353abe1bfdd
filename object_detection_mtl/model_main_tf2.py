"""Train a detector, or evaluate its checkpoints, with the OD API's flags.

    model_main_tf2 --pipeline_config_path=faster_rcnn.config --model_dir=run

trains until step train_config.num_steps. If the directory has checkpoints, training continues from
the newest one, so the same command continues a run after Ctrl-C. Checkpoints are written to the
directory, TensorBoard's events to its subdirectory `train`.

    model_main_tf2 --pipeline_config_path=faster_rcnn.config --model_dir=run --checkpoint_dir=run

evaluates the newest checkpoint and then every new one, until training has ended or no checkpoint
appears for --eval_timeout seconds; with --eval_once it evaluates only the newest. Metrics are
printed and written to `run/eval/<name of the input reader>`, for TensorBoard and as JSON. With
--eval_once and --report, a page shows the errors of the detector.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from absl import flags

from object_detection_mtl import output_paths
from object_detection_mtl.cli import command_line, process_settings
from object_detection_mtl.training.best_checkpoint import PeriodicEvaluation

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("pipeline_config_path", None, "The pipeline.config of the experiment.")
    flags.DEFINE_string("model_dir", None, "Directory of checkpoints, events and metrics.")
    flags.DEFINE_integer(
        "num_train_steps", None, "Step at which training ends, instead of train_config.num_steps."
    )
    flags.DEFINE_integer("checkpoint_every_n", 1000, "Steps between checkpoints; 7 are kept.")
    flags.DEFINE_integer(
        "eval_every_n",
        None,
        "Evaluate every n steps of the training, a multiple of --checkpoint_every_n, and "
        "keep the best checkpoint in the directory best.",
    )
    flags.DEFINE_string(
        "best_metric",
        None,
        "With --eval_every_n: name of the metric that decides, as printed. Default: the first mAP.",
    )
    flags.DEFINE_integer(
        "patience",
        None,
        "With --eval_every_n: evaluations without improvement after which training ends.",
    )
    flags.DEFINE_integer("log_every_n", 100, "Steps between logs of the mean losses.")
    flags.DEFINE_bool("record_summaries", True, "Write images of the input to TensorBoard too.")
    flags.DEFINE_multi_string(
        "override",
        [],
        "A field of the config and its value, a.b.c=value. Can be given repeatedly.",
    )
    flags.DEFINE_string(
        "checkpoint_dir", None, "Evaluate the checkpoints of this directory instead of training."
    )
    flags.DEFINE_integer(
        "eval_timeout", 3600, "Seconds to wait for a new checkpoint before evaluation ends."
    )
    flags.DEFINE_bool("eval_once", False, "Evaluate only the newest checkpoint.")
    flags.DEFINE_string(
        "report", None, "With --eval_once: directory of a report, one HTML page and its numbers."
    )
    flags.DEFINE_bool(
        "eval_on_train_data",
        False,
        "Evaluate on the data of train_input_reader, without augmentation.",
    )
    flags.DEFINE_integer(
        "sample_1_of_n_eval_examples",
        None,
        "Evaluate one of n examples, instead of the value of the config.",
    )
    flags.DEFINE_integer(
        "sample_1_of_n_eval_on_train_examples",
        5,
        "Evaluate one of n examples of the training data, with --eval_on_train_data.",
    )
    flags.DEFINE_enum(
        "engine",
        "tensorflow",
        ("tensorflow", "openvino", "onnxruntime", "auto"),
        "Runtime of an evaluation. All but TensorFlow convert each checkpoint, and compute no "
        "losses and no metrics of auxiliary tasks. auto uses the fastest installed runtime whose "
        "detections on the first batch equal TensorFlow's.",
    )
    flags.DEFINE_enum(
        "engine_precision",
        "float32",
        ("float32", "bfloat16"),
        "Precision of the convolutions in OpenVINO. bfloat16 is for CPUs with instructions for it.",
    )
    flags.DEFINE_enum(
        "on_damaged_checkpoint",
        "fallback",
        ("fallback", "fail"),
        "If the newest checkpoint is corrupt: fallback takes the newest complete one and keeps the "
        "damaged files aside; fail stops.",
    )
    flags.DEFINE_integer(
        "skip_nonfinite_steps",
        0,
        "Training steps of the run that may be skipped because a loss or the gradient is NaN or "
        "infinite. One more stops training; 0 stops at the first.",
    )
    flags.DEFINE_integer(
        "num_workers",
        1,
        "1: all visible GPUs, or the CPU. More: number of workers, one process each, whose "
        "addresses are in the environment variable TF_CONFIG.",
    )
    flags.DEFINE_string(
        "data_service",
        None,
        "grpc://host:port of the dispatcher of a tf.data service, whose workers read, decode and "
        "augment the training images. The order of the images is not repeatable then.",
    )
    flags.DEFINE_bool(
        "jit_compile",
        False,
        "Compile the training step with XLA. It is compiled again for every new shape of a batch: "
        "pad images (pad_to_max_dimension) and set train_config.max_number_of_boxes.",
    )
    flags.DEFINE_bool(
        "mixed_precision",
        None,
        "Train in bfloat16 and float32, instead of train_config.use_bfloat16. It is for GPUs and "
        "for CPUs with AVX512-BF16 or AMX; on other devices training is in float32.",
    )
    flags.DEFINE_bool("use_tpu", False, "Train on a TPU.")
    flags.DEFINE_string("tpu_name", None, "Name of the TPU; auto-detected if only one exists.")
    flags.mark_flags_as_required(["pipeline_config_path", "model_dir"])


def main() -> int:
    """Train or evaluate, as selected by the flags; return the exit code."""
    _check_flags()
    process_settings.keep_freed_memory()
    from object_detection_mtl.config import pipeline

    config = pipeline.load(FLAGS.pipeline_config_path, FLAGS.override)
    if FLAGS.checkpoint_dir:
        return _evaluate(config)
    return _train(config)


def _check_flags() -> None:
    for name in (
        "num_train_steps",
        "checkpoint_every_n",
        "eval_every_n",
        "patience",
        "log_every_n",
        "num_workers",
        "sample_1_of_n_eval_examples",
        "sample_1_of_n_eval_on_train_examples",
    ):
        value = FLAGS[name].value
        if value is not None and value < 1:
            raise ValueError(f"--{name}={value}: expected at least 1")
    if FLAGS.skip_nonfinite_steps < 0:
        raise ValueError(f"--skip_nonfinite_steps={FLAGS.skip_nonfinite_steps}: expected 0 or more")
    if FLAGS.eval_timeout < 0:
        raise ValueError(f"--eval_timeout={FLAGS.eval_timeout}: expected seconds, 0 or more")
    _check_flags_of_modes()


def _check_flags_of_modes() -> None:
    """Refuse flags that do not apply to the mode: training or evaluation."""
    if not FLAGS.checkpoint_dir:
        names = ("eval_once", "report", "eval_on_train_data", "engine", "engine_precision")
        given = [name for name in names if FLAGS[name].value != FLAGS[name].default]
        if given:
            raise ValueError(
                f"--{given[0]} applies to evaluation only; give --checkpoint_dir to evaluate, or "
                f"omit --{given[0]} to train"
            )
    elif FLAGS.mixed_precision is not None:
        raise ValueError("--mixed_precision applies to training only; omit --checkpoint_dir")
    elif FLAGS.data_service:
        raise ValueError("--data_service applies to training only; omit --checkpoint_dir")
    if FLAGS.eval_every_n is None:
        given = [name for name in ("best_metric", "patience") if FLAGS[name].value is not None]
        if given:
            raise ValueError(f"--{given[0]} needs evaluation during training; give --eval_every_n")
    elif FLAGS.checkpoint_dir:
        raise ValueError("--eval_every_n applies to training only; omit --checkpoint_dir")
    else:
        PeriodicEvaluation(FLAGS.eval_every_n).check(FLAGS.checkpoint_every_n, FLAGS.num_workers)
    if FLAGS.report and not FLAGS.eval_once:
        raise ValueError(
            "--report is given without --eval_once; a report describes one checkpoint. Give both"
        )
    output_paths.check_output_directory("report", FLAGS.report)


def _train(config: Any) -> int:
    process_settings.use_training_kernels(config, jit_compile=FLAGS.jit_compile)
    import object_detection_mtl as odm
    from object_detection_mtl.training.failures import (
        LOST_WORKER_EXIT_CODE,
        DataServiceLostError,
        NonFiniteError,
        WorkerLostError,
    )

    try:
        result = odm.train_detector(
            config,
            FLAGS.model_dir,
            num_steps=FLAGS.num_train_steps,
            checkpoint_every_n=FLAGS.checkpoint_every_n,
            evaluate_every_n=FLAGS.eval_every_n,
            best_metric=FLAGS.best_metric,
            patience=FLAGS.patience,
            record_summaries=FLAGS.record_summaries,
            log_every_n=FLAGS.log_every_n,
            jit_compile=FLAGS.jit_compile,
            mixed_precision=FLAGS.mixed_precision,
            num_workers=FLAGS.num_workers,
            use_tpu=FLAGS.use_tpu,
            tpu_name=FLAGS.tpu_name,
            data_service=FLAGS.data_service,
            on_damaged_checkpoint=FLAGS.on_damaged_checkpoint,
            skip_nonfinite_steps=FLAGS.skip_nonfinite_steps,
        )
    except NonFiniteError as error:
        raise ValueError(str(error)) from error
    except WorkerLostError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        if isinstance(error, DataServiceLostError):
            # TensorFlow's thread that waits for the dispatcher, up to an hour, cannot be stopped.
            sys.stdout.flush()
            os._exit(LOST_WORKER_EXIT_CODE)
        return LOST_WORKER_EXIT_CODE
    # The exit code that shells report after a signal, so that a scheduler restarts the run.
    return 0 if result.interrupted_by is None else 128 + result.interrupted_by


def _evaluate(config: Any) -> int:
    import object_detection_mtl as odm

    if FLAGS.eval_on_train_data:
        config.train_input_reader.sample_1_of_n_examples = (
            FLAGS.sample_1_of_n_eval_on_train_examples
        )
    elif FLAGS.sample_1_of_n_eval_examples is not None and config.eval_input_reader:
        config.eval_input_reader[0].sample_1_of_n_examples = FLAGS.sample_1_of_n_eval_examples
    odm.evaluate_checkpoints(
        FLAGS.checkpoint_dir,
        config=config,
        output_dir=FLAGS.model_dir,
        once=FLAGS.eval_once,
        timeout=FLAGS.eval_timeout,
        num_steps=FLAGS.num_train_steps,
        on_train_data=FLAGS.eval_on_train_data,
        report=FLAGS.report,
        engine=FLAGS.engine,
        precision=FLAGS.engine_precision,
        on_damaged_checkpoint=FLAGS.on_damaged_checkpoint,
    )
    return 0


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
