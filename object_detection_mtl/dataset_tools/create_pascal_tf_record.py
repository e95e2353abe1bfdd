"""Converts a folder in the format of PASCAL VOC to TFRecords of the OD API's layout.

    create_pascal_tf_record --data_dir=VOCdevkit --year=VOC2007 --set=trainval \\
        --label_map_path=pascal_label_map.pbtxt --output_path=voc2007_trainval.record

--data_dir is the parent of VOC2007 and VOC2012, or itself a folder with Annotations and JPEGImages.
Pictures that are missing, cut short or no pictures are left out and named at the end; boxes are
clipped to the picture, and those of which nothing is left are left out and counted. An annotation
that cannot be read and a class that the label map lacks are errors, found before anything is
written. The output appears under its name only when it is complete.
"""

from __future__ import annotations

import functools

from absl import flags

from object_detection_mtl.cli import command_line
from object_detection_mtl.dataset_tools import (
    conversion_command,
    dataset_label_map,
    voc_annotations,
    voc_conversion,
)

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string(
        "data_dir", None, "Folder that holds VOC2007 and VOC2012, or a VOC folder itself."
    )
    flags.DEFINE_enum(
        "year",
        "VOC2007",
        voc_annotations.YEARS,
        "Which of them; without meaning if --data_dir is a VOC folder.",
    )
    flags.DEFINE_string(
        "set",
        None,
        "Name of a list in ImageSets/Main. Default: train, or every annotation file where the "
        "folder has no ImageSets.",
    )
    flags.DEFINE_string(
        "annotations_dir",
        voc_annotations.ANNOTATIONS,
        "Folder of the .xml files, relative to the VOC folder.",
    )
    flags.DEFINE_string(
        "images_dir", voc_annotations.IMAGES, "Folder of the pictures, relative to the VOC folder."
    )
    flags.DEFINE_bool("ignore_difficult_instances", False, "Leave out objects marked as difficult.")
    conversion_command.define_flags("that of the 20 PASCAL classes")
    flags.mark_flag_as_required("data_dir")


def main() -> None:
    conversion_command.prepare()
    folders = voc_annotations.find_folders(FLAGS.data_dir, FLAGS.year)
    labels, label_map_name = conversion_command.load_labels(
        derive=lambda path: voc_conversion.derive_label_map(folders, FLAGS.annotations_dir, path),
        default=lambda: (
            dataset_label_map.load_labels(dataset_label_map.PASCAL),
            str(dataset_label_map.PASCAL),
        ),
    )
    load = functools.partial(
        voc_conversion.load_pictures,
        folders,
        labels,
        set_name=FLAGS.set,
        annotations_dir=FLAGS.annotations_dir,
        images_dir=FLAGS.images_dir,
        label_map_name=label_map_name,
        ignore_difficult_instances=FLAGS.ignore_difficult_instances,
    )
    conversion_command.run(load(), max(labels.values()), load)


def run() -> None:
    command_line.run(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
