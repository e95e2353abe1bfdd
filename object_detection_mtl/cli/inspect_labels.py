"""Draw the auxiliary labels of images: boxes, mask, closeness, windows.

    inspect_labels --data_dir=VOCdevkit/VOC2007 --set=trainval --output_dir=labels
    inspect_labels --annotations_file=instances_val.json --image_dir=val --output_dir=labels
    inspect_labels --input_path='train.record*' --label_map_path=map.pbtxt --output_dir=labels

Writes one sheet (.png) for each image, and index.html, which shows all sheets. The labels are
computed from the decoded record by the code that computes them in training; with --stored_labels
they are read from records of create_*_tf_record --write_auxiliary_labels or of the authors.
docs/guides/labels.md explains the sheets.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from absl import flags

from object_detection_mtl.cli import command_line
from object_detection_mtl.dataset_tools import voc_annotations

if TYPE_CHECKING:
    from object_detection_mtl.inspection import label_sources

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string("input_path", None, "Record file, or a quoted pattern of record files.")
    flags.DEFINE_string(
        "data_dir",
        None,
        "Instead of --input_path: parent directory of VOC2007 and VOC2012, or a VOC directory.",
    )
    flags.DEFINE_enum(
        "year",
        "VOC2007",
        voc_annotations.YEARS,
        "Year to inspect; ignored if --data_dir is a VOC directory.",
    )
    flags.DEFINE_string(
        "set", None, "Name of a list in ImageSets/Main. Default: see create_pascal_tf_record."
    )
    flags.DEFINE_string(
        "annotations_dir",
        voc_annotations.ANNOTATIONS,
        "Directory of the .xml files, relative to the VOC directory.",
    )
    flags.DEFINE_string(
        "images_dir",
        voc_annotations.IMAGES,
        "Directory of the images, relative to the VOC directory.",
    )
    flags.DEFINE_string("annotations_file", None, "Instead of both: a COCO instances file (.json).")
    flags.DEFINE_string("image_dir", None, "Directory of the images of --annotations_file.")
    flags.DEFINE_string("output_dir", None, "Output directory; created if it does not exist.")
    flags.DEFINE_string(
        "label_map_path",
        None,
        "Label map (.pbtxt). Required with --input_path; VOC and COCO annotations have the names "
        "of their classes.",
    )
    flags.DEFINE_integer("num_images", 20, "Maximum number of images to draw.", lower_bound=1)
    flags.DEFINE_integer(
        "num_windows", 4, "Number of windows to draw for each image.", lower_bound=1
    )
    flags.DEFINE_integer("seed", 0, "Seed of the windows.", lower_bound=0, upper_bound=2**31 - 1)
    flags.DEFINE_bool(
        "stored_labels", False, "Draw the labels that the records store instead of computed ones."
    )
    flags.mark_flag_as_required("output_dir")


def main() -> None:
    """Write the label sheets that the flags select."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"  # CPU is enough
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    source = _source()

    from object_detection_mtl.inspection import label_sheets

    index = label_sheets.write_label_sheets(
        source,
        FLAGS.output_dir,
        num_images=FLAGS.num_images,
        num_windows=FLAGS.num_windows,
        seed=FLAGS.seed,
        stored_labels=FLAGS.stored_labels,
    )
    print(index)


def _source() -> label_sources.LabelSource:
    given = [name for name in ("input_path", "data_dir", "annotations_file") if FLAGS[name].value]
    if len(given) != 1:
        raise ValueError(
            f"{' and '.join('--' + name for name in given) or 'no input'} given, expected one of "
            "--input_path (records), --data_dir (VOC) and --annotations_file (COCO)"
        )
    if FLAGS.stored_labels and given != ["input_path"]:
        raise ValueError("--stored_labels needs --input_path: only records store labels")
    if bool(FLAGS.annotations_file) != bool(FLAGS.image_dir):
        raise ValueError("--annotations_file and --image_dir must be given together")

    from object_detection_mtl.inspection import label_sources

    if FLAGS.input_path:
        if not FLAGS.label_map_path:
            raise ValueError("--input_path needs --label_map_path, which names the classes")
        return label_sources.from_records(FLAGS.input_path, FLAGS.label_map_path)
    if FLAGS.data_dir:
        return label_sources.from_voc(
            voc_annotations.find_directories(FLAGS.data_dir, FLAGS.year),
            FLAGS.set,
            FLAGS.annotations_dir,
            FLAGS.images_dir,
            label_map_path=FLAGS.label_map_path,
        )
    return label_sources.from_coco(
        FLAGS.annotations_file, FLAGS.image_dir, label_map_path=FLAGS.label_map_path
    )


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
