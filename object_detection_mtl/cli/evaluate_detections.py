"""Score detections of any detector against ground truth; write a report.

    evaluate_detections detections.json --groundtruth=instances_val.json --report=report
    evaluate_detections results/ --groundtruth=VOCdevkit/VOC2007 --set=test --report=report
    evaluate_detections 'found.record*' --groundtruth='val.record*' --label_map_path=map.pbtxt

Detections: COCO results (a JSON list), a directory with a PASCAL VOC text file for each class, or
records with detections. Ground truth: a COCO instances file, a PASCAL VOC directory, or records.
Prints the metrics. With --report also report.html (one file, needs no network), metrics.json and
classes.csv.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from absl import flags

from object_detection_mtl import output_paths
from object_detection_mtl.cli import command_line

if TYPE_CHECKING:
    from object_detection_mtl.reporting.evaluated_images import EvaluationSet
    from object_detection_mtl.reporting.report_contents import ReportContents

FLAGS = flags.FLAGS


def define_groundtruth_flags() -> None:
    """Define the flags that name the ground truth and what a report shows."""
    flags.DEFINE_string(
        "groundtruth",
        None,
        "COCO instances file (.json), PASCAL VOC directory, or record files (a quoted pattern).",
    )
    flags.DEFINE_string(
        "label_map_path", None, "Label map. Default: the classes that the annotations name."
    )
    flags.DEFINE_string(
        "set", None, "Name of a list in ImageSets/Main of a PASCAL VOC directory. Default: train."
    )
    flags.DEFINE_string(
        "image_dir", None, "Directory of the images of a COCO file, for the report's thumbnails."
    )
    flags.DEFINE_bool(
        "skip_unknown", False, "Skip and count detections of unknown images and classes."
    )
    flags.DEFINE_float(
        "min_score",
        0.5,
        "Minimum score of detections in confusion matrix, recall, missed objects and gallery.",
        lower_bound=0,
        upper_bound=1,
    )
    flags.mark_flag_as_required("groundtruth")


def read_given_groundtruth() -> EvaluationSet:
    """Return the objects of the images that the flags of `define_groundtruth_flags` name."""
    from object_detection_mtl.reporting import groundtruth_files

    return groundtruth_files.read_groundtruth(
        FLAGS.groundtruth,
        label_map_path=FLAGS.label_map_path,
        set_name=FLAGS.set,
        image_dir=FLAGS.image_dir,
    )


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("detections", None, "Detections; the name of the flag can be omitted.")
    define_groundtruth_flags()
    flags.DEFINE_string("report", None, "Directory of the report; created if it does not exist.")
    flags.DEFINE_string(
        "coco_export",
        None,
        "Directory of images, ground truth and detections in the COCO layout, which FiftyOne and "
        "supervision import.",
    )
    flags.DEFINE_string("name", None, "Name of the detector in the report.")
    flags.DEFINE_integer(
        "gallery_images",
        300,
        "Images in the report's gallery: those with the most and most confident mistakes. -1: all.",
        lower_bound=-1,
    )


def main() -> int:
    """Evaluate the detections."""
    if not FLAGS.detections:
        raise ValueError("give the detections: evaluate_detections PATH --groundtruth=...")
    output_paths.check_output_directory("report", FLAGS.report)
    output_paths.check_output_directory("coco_export", FLAGS.coco_export)
    from object_detection_mtl.reporting import (
        coco_layout,
        detection_files,
        html_report,
        report_contents,
    )

    groundtruth = read_given_groundtruth()
    evaluation = detection_files.read_detections(
        FLAGS.detections, groundtruth, name=FLAGS.name, skip_unknown=FLAGS.skip_unknown
    )
    options = report_contents.ReportOptions(
        min_score=FLAGS.min_score,
        max_gallery_images=None if FLAGS.gallery_images < 0 else FLAGS.gallery_images,
    )
    contents = report_contents.report_contents(evaluation, options)
    print_metrics(contents)
    if FLAGS.report:
        print(html_report.write_report(contents, FLAGS.report))
    if FLAGS.coco_export:
        print(coco_layout.write_coco_layout(evaluation, FLAGS.coco_export))
    return 0


def print_metrics(contents: ReportContents) -> None:
    """Print notes, the metrics of all classes together, and AP of each class."""
    for note in contents.evaluation.notes:
        print(f"note: {note}")
    print(f"{contents.evaluation.name}: {len(contents.evaluation.images)} images")
    print_columns(contents.metrics())
    print_columns({f"AP@0.5IOU/{item.name}": item.voc_ap for item in contents.classes})


def print_columns(values: Mapping[str, float]) -> None:
    """Print names and values; "-" for NaN."""
    width = max(map(len, values), default=0)
    for name, value in values.items():
        print(f"  {name.ljust(width)}  {'-' if math.isnan(value) else f'{value:.4f}'}")


def run() -> None:
    """Run the command line."""
    command_line.run_command(define_flags, main, __doc__ or "", positional="detections")


if __name__ == "__main__":
    run()
