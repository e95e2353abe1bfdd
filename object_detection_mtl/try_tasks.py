r"""Try the auxiliary tasks on your own data: what they bring, and what they cost.

    python -m object_detection_mtl.try_tasks --data_dir=my_images
    python -m object_detection_mtl.try_tasks --annotations_file=instances.json --image_dir=images

Converts the dataset, splits it (70 % training, 15 % validation, 15 % test), measures a few training
steps and prints the hours that the trial takes. Then it trains a detector without tasks, one more
without tasks for the time that tasks take, one with all tasks, and one with all tasks and the
refinement: each at every learning rate with the first seed, then at its best one on validation with
the other seeds. Paired runs start from the same weights. Ends with a table of the differences on
the test images, with intervals and costs; a difference whose interval contains zero is called
undecided.

Everything is written to --output_dir. An interrupted trial continues with the same command.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from object_detection_mtl import output_paths
from object_detection_mtl.cli import command_line
from object_detection_mtl.config import samples

if TYPE_CHECKING:
    from object_detection_mtl.experiments import task_trial

FLAGS = flags.FLAGS
CONFIG = "faster_rcnn_mobilenet_v1_mtl_small.config"


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("data_dir", None, "VOC directory: Annotations and JPEGImages.")
    flags.DEFINE_string(
        "set",
        None,
        "Name of a list in ImageSets/Main of --data_dir. Default: trainval if it exists, else see "
        "create_pascal_tf_record.",
    )
    flags.DEFINE_string("annotations_file", None, "Instead: a COCO instances file (.json).")
    flags.DEFINE_string("image_dir", None, "Directory of the images of --annotations_file.")
    flags.DEFINE_string("output_dir", "try_tasks", "Output directory; created if needed.")
    flags.DEFINE_string(
        "pipeline_config_path",
        None,
        f"Config with an mtl {{}}. Default: the sample {CONFIG}, images of 224 pixels.",
    )
    flags.DEFINE_multi_string(
        "override", [], "A field of the config and its value, a.b.c=value. Can be given repeatedly."
    )
    flags.DEFINE_string(
        "weights",
        "imagenet",
        "Checkpoint that all trainings start from; imagenet downloads weights of the backbone, "
        "none starts from random ones.",
    )
    flags.DEFINE_list(
        "learning_rates", ["0.0007", "0.0015", "0.003"], "Peak learning rates to choose from."
    )
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Seeds of the paired trainings.")
    flags.DEFINE_integer("steps", 2000, "Training steps of each run.", lower_bound=1)
    flags.DEFINE_integer(
        "threads", None, "Threads of a training. Default: all cores.", lower_bound=1
    )
    flags.DEFINE_bool("estimate_only", False, "Stop after the estimate of the hours.")


def main() -> int:
    """Run the trial."""
    tool_and_arguments = _annotations()
    output_paths.check_output_directory("output_dir", FLAGS.output_dir)
    from object_detection_mtl.experiments import run_results, task_trial, user_dataset
    from object_detection_mtl.experiments.dataset_splits import VALIDATION
    from object_detection_mtl.experiments.paired_training import Experiment
    from object_detection_mtl.experiments.run_processes import StepError

    output = Path(FLAGS.output_dir).resolve()
    request = _request()
    dataset = user_dataset.prepare_user_dataset(*tool_and_arguments, output / "data")
    sizes = ", ".join(f"{count} {split}" for split, count in dataset.sizes.items())
    print(f"{len(dataset.classes)} classes; images: {sizes}", flush=True)
    experiment = Experiment(
        name="trial",
        dataset=dataset,
        config=Path(FLAGS.pipeline_config_path or samples.path(CONFIG)),
        weights=_weights(),
        overrides=tuple(FLAGS.override),
        split=VALIDATION,
        directory=output / "runs",
        results=output / "results" / "trial",
        threads=FLAGS.threads,
    )
    try:
        hours = task_trial.estimate_hours(experiment, request)
    except StepError as error:
        raise ValueError(f"a first training failed. {error}") from error
    trainings = len(task_trial.VARIANTS) * request.num_trainings
    print(f"estimate: {hours:.1f} hours for {trainings} trainings of {request.steps} steps")
    if FLAGS.estimate_only:
        return 0
    failures = task_trial.run_trial(experiment, request)
    if failures:
        raise ValueError(f"{failures} runs failed; the same command tries them again")
    report = task_trial.trial_report(run_results.load_results(experiment.results))
    (output / "comparison.md").write_text(report + "\n")
    print(f"\n{report}\n\nwritten to {output / 'comparison.md'}")
    return 0


def _annotations() -> tuple[str, list[str]]:
    """Return the converter and the arguments that name the annotations."""
    from object_detection_mtl.experiments.user_dataset import COCO_TOOL, VOC_TOOL

    if bool(FLAGS.data_dir) == bool(FLAGS.annotations_file):
        raise ValueError(
            "expected --data_dir (a VOC directory) or --annotations_file (a COCO file), one of them"
        )
    if FLAGS.data_dir:
        directory = Path(FLAGS.data_dir).resolve()
        name = FLAGS.set
        if name is None and (directory / "ImageSets" / "Main" / "trainval.txt").exists():
            name = "trainval"
        return VOC_TOOL, [f"--data_dir={directory}", *([f"--set={name}"] if name else [])]
    if not FLAGS.image_dir:
        raise ValueError("--image_dir is missing: the directory of the images of the COCO file")
    return COCO_TOOL, [
        f"--annotations_file={Path(FLAGS.annotations_file).resolve()}",
        f"--image_dir={Path(FLAGS.image_dir).resolve()}",
    ]


def _request() -> task_trial.TrialRequest:
    from object_detection_mtl.experiments.task_trial import TrialRequest

    seeds = FLAGS.seeds
    if not all(seed.isdecimal() for seed in seeds) or len(set(seeds)) < len(seeds):
        raise ValueError(f"--seeds: {','.join(seeds)}; expected different whole numbers")
    return TrialRequest(
        tuple(FLAGS.learning_rates), tuple(int(seed) for seed in seeds), FLAGS.steps
    )


def _weights() -> str:
    if FLAGS.weights in ("imagenet", "none"):
        return FLAGS.weights.replace("none", "")
    return str(Path(FLAGS.weights).resolve())


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
