r"""Compare detectors on the same ground truth; the first is the reference.

    compare_detectors --groundtruth=VOCdevkit/VOC2007 --set=test --report=comparison \
        baseline=run1.json,run2.json,run3.json tasks=run4.json,run5.json,run6.json

An argument is a detector: a file or directory of detections as evaluate_detections takes it, an
export (a directory with saved_model, model.onnx or model.xml), or the directory of a training run
(pipeline.config and checkpoints, of which the newest is taken). Exports and runs detect in the
images of the ground truth; with --report their detections are stored in the report's directory, and
an interrupted run resumes. NAME=PATH names a detector, NAME=PATH,PATH,... are several runs (seeds)
of it, whose numbers are averaged. Prints the differences of AP at IoU 0.5 with paired bootstrap
intervals over the images. With --report also comparison.html, differences.json and differences.csv;
with --figure the images on which the second detector gains most, detectors side by side.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

from object_detection_mtl import output_paths
from object_detection_mtl.cli import command_line, evaluate_detections

if TYPE_CHECKING:
    from object_detection_mtl.reporting.bootstrap import Interval
    from object_detection_mtl.reporting.detector_comparison import DetectorComparison
    from object_detection_mtl.reporting.evaluated_images import EvaluationSet

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_multi_string(
        "detector", [], "A detector, [NAME=]PATH[,PATH...]; the name of the flag can be omitted."
    )
    evaluate_detections.define_groundtruth_flags()
    flags.DEFINE_string("report", None, "Directory of the report; created if it does not exist.")
    flags.DEFINE_string("figure", None, "PNG file of images with detections side by side.")
    flags.DEFINE_integer("figure_images", 6, "Number of images in the figure.", lower_bound=1)
    flags.DEFINE_integer("resamples", 1000, "Number of bootstrap resamples.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of the bootstrap.", lower_bound=0)


def main() -> int:
    """Compare the detectors."""
    detectors = [parse_detector(argument) for argument in FLAGS.detector]
    if len(detectors) < 2:
        raise ValueError(
            f"{len(detectors)} detectors are given, expected at least two: compare_detectors "
            "--groundtruth=... A B"
        )
    output_paths.check_output_directory("report", FLAGS.report)
    if FLAGS.figure and os.path.isdir(FLAGS.figure):
        raise ValueError(f"--figure={FLAGS.figure} is a directory; give the path of a PNG file")
    if FLAGS.figure:
        output_paths.check_output_directory("figure", os.path.dirname(FLAGS.figure) or ".")
    from object_detection_mtl.reporting import (
        comparison_report,
        detector_comparison,
        report_contents,
    )

    groundtruth = evaluate_detections.read_given_groundtruth()

    comparison = detector_comparison.compare_detectors(
        [
            (
                name,
                [_evaluated(path, name, number, groundtruth) for number, path in enumerate(paths)],
            )
            for name, paths in detectors
        ],
        report_contents.ReportOptions(min_score=FLAGS.min_score),
        num_resamples=FLAGS.resamples,
        seed=FLAGS.seed,
    )
    _print(comparison)
    if FLAGS.report:
        print(comparison_report.write_comparison(comparison, FLAGS.report, FLAGS.resamples))
    if FLAGS.figure:
        if not comparison_report.write_figure(comparison, FLAGS.figure, FLAGS.figure_images):
            print(
                f"{comparison.differences[0].name} gains on no image (detections with a score of "
                f"at least {FLAGS.min_score}); the figure shows the first images"
            )
        print(FLAGS.figure)
    return 0


def _evaluated(path: str, name: str, number: int, groundtruth: EvaluationSet) -> EvaluationSet:
    """Return the images with the detections of a file, an export or a run."""
    from object_detection_mtl.cli import detector_loading
    from object_detection_mtl.reporting import detection_files, model_detections

    model = detector_loading.find_model(path)
    if model is None:
        return detection_files.read_detections(
            path, groundtruth, name=name, skip_unknown=FLAGS.skip_unknown
        )
    progress = None
    if FLAGS.report:
        stem = "".join(letter if letter.isalnum() else "_" for letter in name[:50])
        progress = Path(FLAGS.report) / f"detections-{stem}-{number}.jsonl"
    return model_detections.detect_in_images(
        model.load,
        groundtruth,
        name,
        model=model.version,
        progress_path=progress,
        skip_unknown=FLAGS.skip_unknown,
    )


def parse_detector(argument: str) -> tuple[str, list[str]]:
    """Return name and paths of `[NAME=]PATH[,PATH...]`; an existing path is not split.

    Raises:
        ValueError: the name or a path is empty.
    """
    if Path(argument).exists():
        return Path(argument).stem, [argument]
    name, has_name, rest = argument.partition("=")
    paths = [os.path.expanduser(p) for p in (rest if has_name else argument).split(",")]
    if not all(paths) or (has_name and not name):
        raise ValueError(f"{argument!r}: expected a path, NAME=PATH or NAME=PATH,PATH,...")
    return (name if has_name else Path(paths[0]).stem), paths


def _print(comparison: DetectorComparison) -> None:
    reference = comparison.detectors[0]
    names = reference.runs[0].names
    for note in comparison.notes():
        print(f"note: {note}")
    for detector in comparison.detectors:
        count = len(detector.runs)
        print(f"{detector.name}: {count} {'run' if count == 1 else 'runs'}")
        evaluate_detections.print_columns(detector.metrics())
    for difference in comparison.differences:
        level = 100 * difference.mean.level
        print(f"{difference.name} minus {reference.name}, AP at IoU 0.5, {level:g} % interval")
        rows = {"mean of all classes": difference.mean}
        rows |= {names[class_id]: found for class_id, found in difference.by_class.items()}
        width = max(map(len, rows))
        for name, interval in rows.items():
            print(f"  {name.ljust(width)}  {_shown(interval)}")


def _shown(interval: Interval) -> str:
    if interval.difference != interval.difference:
        return "-"
    star = " *" if interval.excludes_zero else ""
    return f"{interval.difference:+.4f} ({interval.low:+.4f} to {interval.high:+.4f}){star}"


def run() -> None:
    """Run the command line."""
    command_line.run_command(define_flags, main, __doc__ or "", positional="detector")


if __name__ == "__main__":
    run()
