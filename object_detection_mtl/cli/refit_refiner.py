r"""Fit the refiner of a trained detector again, without training.

    refit_refiner --pipeline_config_path=run/pipeline.config --checkpoint_dir=run \
        --output_dir=refitted

Runs the detector over its training images and fits the refiner's linear layer to the proposals of
detection by multinomial logistic regression. The checkpoint in --output_dir evaluates, exports and
continues as the given one. Prints the cross-entropy, and the accuracy of proposals that match an
object, before and after, on the images of the fit and on images of the first eval_input_reader. A
fit that does not help there is not used: the checkpoint keeps its weights, and the command says so.
A run that was trained without refinement gets a refiner: training then costs less, and the
refinement is made afterwards.

--report_only writes nothing: it prints how much of the cross-entropy a refiner could remove, on
images of the training and on those of the first eval_input_reader, by what it reads.
"""

from __future__ import annotations

from absl import flags

from object_detection_mtl.cli import command_line, process_settings

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("pipeline_config_path", None, "The pipeline.config of the training.")
    flags.DEFINE_string(
        "checkpoint_dir", None, "Directory of checkpoints, or the prefix of one checkpoint."
    )
    flags.DEFINE_string("output_dir", None, "New directory of the checkpoint.")
    flags.DEFINE_multi_string("override", [], "A field of the config and its value, a.b.c=value.")
    flags.DEFINE_list(
        "records", [], "Records to fit to. Default: those of the config's train_input_reader."
    )
    flags.DEFINE_list(
        "held_out_records",
        [],
        "Records to judge the fit by. Default: those of the config's first eval_input_reader; with "
        "--records, a fifth of their images.",
    )
    flags.DEFINE_integer(
        "num_images", None, "Images to read, evenly spaced. Default: all.", lower_bound=1
    )
    flags.DEFINE_integer(
        "jitter", 0, "Copies of all proposals, moved at random, to add to the fit.", lower_bound=0
    )
    flags.DEFINE_float(
        "l2",
        None,
        "Strength of the regularization. Default: chosen by cross-validation over images.",
        lower_bound=0,
    )
    flags.DEFINE_float(
        "foreground_fraction",
        None,
        "Part of the weight that proposals of objects get. Default: as they occur in detection.",
        lower_bound=0,
        upper_bound=1,
    )
    flags.DEFINE_bool("report_only", False, "Print what a refiner could remove; write nothing.")
    flags.mark_flags_as_required(["pipeline_config_path", "checkpoint_dir"])


def main() -> int:
    """Fit the refiner, or report."""
    if not FLAGS.report_only and FLAGS.output_dir is None:
        raise ValueError("--output_dir is missing: the directory of the new checkpoint")
    process_settings.keep_freed_memory()
    from object_detection_mtl.data import record_files

    for flag in ("records", "held_out_records"):
        if FLAGS[flag].value:
            record_files.expand_patterns(FLAGS[flag].value, f"--{flag}")
    from object_detection_mtl import refiner_refit
    from object_detection_mtl.config import pipeline
    from object_detection_mtl.training.refiner_fit import FitOptions

    config = pipeline.load(FLAGS.pipeline_config_path, FLAGS.override)
    if not config.model.mtl.refine:
        print("the run has no refinement: a refiner is added", flush=True)
    request = refiner_refit.RefitRequest(
        records=FLAGS.records,
        held_out_records=FLAGS.held_out_records,
        num_images=FLAGS.num_images,
        jitter=FLAGS.jitter,
        fit=FitOptions(FLAGS.l2, FLAGS.foreground_fraction),
    )
    if FLAGS.report_only:
        found = refiner_refit.report_removable(
            config, FLAGS.checkpoint_dir, request, FLAGS.held_out_records
        )
        print(refiner_refit.table_of_fits(found))
        return 0
    fit = refiner_refit.refit_refiner(config, FLAGS.checkpoint_dir, FLAGS.output_dir, request)
    fitted, held_out = fit.num_images
    columns = {f"fit ({fitted} images)": fit.fitted, f"held out ({held_out} images)": fit.held_out}
    print(refiner_refit.table_of_fits(columns))
    if fit.helps:
        print(f"written to {FLAGS.output_dir}, L2 {fit.l2:g}")
    else:
        print(  # A refiner that was added then changes nothing.
            "the fit does not help on the images held out, so the checkpoint in "
            f"{FLAGS.output_dir} keeps its weights"
        )
        if not FLAGS.records:
            print("fit to images that the detector was not trained on: --records")
    return 0


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
