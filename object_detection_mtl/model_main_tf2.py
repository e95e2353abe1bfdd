"""Trains a detector, or evaluates its checkpoints; the flags are the OD API's.

    model_main_tf2 --pipeline_config_path=faster_rcnn.config --model_dir=run

trains until train_config.num_steps, exactly, and continues from the newest checkpoint of the
directory if there is one: after Ctrl-C the same command goes on. Checkpoints stand in the
directory, TensorBoard's events in its directory `train`.

    model_main_tf2 --pipeline_config_path=faster_rcnn.config --model_dir=run --checkpoint_dir=run

evaluates the newest checkpoint and then every new one, until training has ended or --eval_timeout
seconds bring none; with --eval_once the newest alone. Metrics are printed and written to
`run/eval/<name of the input reader>`, for TensorBoard and as JSON. With --eval_once and --report a
page shows what the detector gets wrong.
"""

from __future__ import annotations

from typing import Any

from absl import flags

from object_detection_mtl.cli import command_line, process_settings

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("pipeline_config_path", None, "The pipeline.config of the experiment.")
    flags.DEFINE_string("model_dir", None, "Where checkpoints, events and metrics are written.")
    flags.DEFINE_integer(
        "num_train_steps", None, "Steps to train, instead of train_config.num_steps."
    )
    flags.DEFINE_integer("checkpoint_every_n", 1000, "Steps between checkpoints; 7 are kept.")
    flags.DEFINE_integer("log_every_n", 100, "Steps whose mean losses are logged together.")
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
    flags.DEFINE_bool("eval_once", False, "Evaluate the newest checkpoint alone.")
    flags.DEFINE_string(
        "report", None, "With --eval_once: directory of a report, one HTML page and its numbers."
    )
    flags.DEFINE_bool(
        "eval_on_train_data", False, "Evaluate on the train_input_reader's data, not augmented."
    )
    flags.DEFINE_integer(
        "sample_1_of_n_eval_examples", None, "Evaluate one of n examples; the config's value."
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
        "What detects in an evaluation. All but TensorFlow convert each checkpoint, and give no "
        "losses and no metrics of auxiliary tasks. auto takes the fastest one installed that finds "
        "what TensorFlow finds on the first batch.",
    )
    flags.DEFINE_enum(
        "engine_precision",
        "float32",
        ("float32", "bfloat16"),
        "Of the convolutions in OpenVINO. bfloat16 is for processors that multiply it.",
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
        "1: all visible GPUs, or the CPU. More: this is one of several processes, whose addresses "
        "stand in the environment variable TF_CONFIG.",
    )
    flags.DEFINE_bool(
        "jit_compile",
        False,
        "Let XLA compile the training step. It does so for every new shape of a batch: pad images "
        "(pad_to_max_dimension) and set train_config.max_number_of_boxes.",
    )
    flags.DEFINE_bool("use_tpu", False, "Train on a TPU.")
    flags.DEFINE_string("tpu_name", None, "Name of the TPU; found by itself where it is the only.")
    flags.mark_flags_as_required(["pipeline_config_path", "model_dir"])


def main() -> int:
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
    if not FLAGS.checkpoint_dir:
        names = ("eval_once", "report", "eval_on_train_data", "engine", "engine_precision")
        given = [name for name in names if FLAGS[name].value != FLAGS[name].default]
        if given:
            raise ValueError(
                f"--{given[0]} is about evaluation, which --checkpoint_dir asks for; without it "
                "this command trains"
            )
    if FLAGS.report and not FLAGS.eval_once:
        raise ValueError("--report is of one checkpoint; it needs --eval_once")


def _train(config: Any) -> int:
    _choose_kernels(config)
    from object_detection_mtl import jobs
    from object_detection_mtl.training.training_step import NonFiniteError

    try:
        result = jobs.train(
            config,
            FLAGS.model_dir,
            num_train_steps=FLAGS.num_train_steps,
            checkpoint_every_n=FLAGS.checkpoint_every_n,
            record_summaries=FLAGS.record_summaries,
            log_every_n=FLAGS.log_every_n,
            jit_compile=FLAGS.jit_compile,
            num_workers=FLAGS.num_workers,
            use_tpu=FLAGS.use_tpu,
            tpu_name=FLAGS.tpu_name,
            on_damaged_checkpoint=FLAGS.on_damaged_checkpoint,
            skip_nonfinite_steps=FLAGS.skip_nonfinite_steps,
        )
    except NonFiniteError as error:
        raise ValueError(str(error)) from error
    # As shells report a process that a signal ended, so that a scheduler starts it again.
    return 0 if result.interrupted_by is None else 128 + result.interrupted_by


def _choose_kernels(config: Any) -> None:
    """oneDNN's where they train faster: on crops of many regions, which R-FCN does without.

    What XLA compiles was not measured and is left to itself.
    """
    predictor = config.model.faster_rcnn.second_stage_box_predictor
    is_rfcn = predictor.WhichOneof("box_predictor_oneof") == "rfcn_box_predictor"
    if not is_rfcn and not FLAGS.jit_compile:
        process_settings.use_onednn()


def _evaluate(config: Any) -> int:
    from object_detection_mtl import jobs

    if FLAGS.eval_on_train_data:
        config.train_input_reader.sample_1_of_n_examples = (
            FLAGS.sample_1_of_n_eval_on_train_examples
        )
    elif FLAGS.sample_1_of_n_eval_examples is not None and config.eval_input_reader:
        config.eval_input_reader[0].sample_1_of_n_examples = FLAGS.sample_1_of_n_eval_examples
    jobs.evaluate(
        config,
        FLAGS.checkpoint_dir,
        FLAGS.model_dir,
        timeout=FLAGS.eval_timeout,
        once=FLAGS.eval_once,
        on_train_data=FLAGS.eval_on_train_data,
        num_train_steps=FLAGS.num_train_steps,
        engine=FLAGS.engine,
        precision=FLAGS.engine_precision,
        report_dir=FLAGS.report,
        on_damaged_checkpoint=FLAGS.on_damaged_checkpoint,
    )
    return 0


def run() -> None:
    command_line.run(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
