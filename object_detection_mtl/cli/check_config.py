"""Check a config with its records, label maps and checkpoint, before training.

    check_config faster_rcnn.config

Prints all problems at once: fields, records (a sample is decoded), label maps, augmentation,
checkpoint, model. Then what is trained and frozen, and an estimate of the memory and the time of a
training step on this device. The exit code is 1 if there is a problem, else 0.
"""

from __future__ import annotations

from absl import flags

from object_detection_mtl.cli import command_line

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string(
        "pipeline_config_path", None, "CONFIG; can be given without the flag's name."
    )
    flags.DEFINE_multi_string(
        "override", [], "A field of the config and its value, a.b.c=value. Can be given repeatedly."
    )
    flags.DEFINE_bool("estimate", True, "Estimate memory and time of a training step.")


def main() -> int:
    """Print the result of the check; return the exit code."""
    if FLAGS.pipeline_config_path is None:
        raise ValueError("no config given; usage: check_config CONFIG")
    from object_detection_mtl import config_check

    check = config_check.check_config(
        FLAGS.pipeline_config_path, FLAGS.override, with_cost=FLAGS.estimate
    )
    for note in check.notes:
        print(note)
    for problem in check.problems:
        print(f"problem: {problem}")
    count = len(check.problems)
    print(f"{FLAGS.pipeline_config_path}: {count or 'no'} problem{'' if count == 1 else 's'} found")
    return 1 if check.problems else 0


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "", positional="pipeline_config_path")


if __name__ == "__main__":
    run()
