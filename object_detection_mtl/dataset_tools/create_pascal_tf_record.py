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

import os
from pathlib import Path

from absl import flags

from object_detection_mtl.dataset_tools import command, label_maps, pascal_records, voc

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string(
        "data_dir", None, "Folder that holds VOC2007 and VOC2012, or a VOC folder itself."
    )
    flags.DEFINE_enum(
        "year",
        "VOC2007",
        voc.YEARS,
        "Which of them; without meaning if --data_dir is a VOC folder.",
    )
    flags.DEFINE_string(
        "set",
        None,
        "Name of a list in ImageSets/Main. Default: train, or every annotation file where the "
        "folder has no ImageSets.",
    )
    flags.DEFINE_string(
        "annotations_dir", voc.ANNOTATIONS, "Folder of the .xml files, relative to the VOC folder."
    )
    flags.DEFINE_string(
        "images_dir", voc.IMAGES, "Folder of the pictures, relative to the VOC folder."
    )
    flags.DEFINE_string("output_path", None, "The record to write.")
    flags.DEFINE_integer(
        "num_shards", 1, "Number of files; more than one are named <output_path>-00000-of-000NN."
    )
    flags.DEFINE_string(
        "label_map_path",
        None,
        "Label map (.pbtxt) that numbers the classes. Default: that of the 20 PASCAL classes.",
    )
    flags.DEFINE_string(
        "output_label_map",
        None,
        "In place of --label_map_path: write a label map of all classes found, and use it.",
    )
    flags.DEFINE_bool("ignore_difficult_instances", False, "Leave out objects marked as difficult.")
    flags.DEFINE_bool(
        "verify_images",
        False,
        "Decode every picture, which also finds damage in the middle of a file (slower).",
    )
    flags.mark_flags_as_required(["data_dir", "output_path"])


def main() -> None:
    # TensorFlow only writes files here, and what fails there comes as an exception: its search for
    # a GPU, and its complaint where there is none, are noise.
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    folders = voc.find_folders(FLAGS.data_dir, FLAGS.year)
    if FLAGS.label_map_path and FLAGS.output_label_map:
        raise ValueError(
            "give --label_map_path, a label map to use, or --output_label_map, a file to write one "
            "to, not both"
        )
    label_map_path = FLAGS.label_map_path or FLAGS.output_label_map or str(label_maps.PASCAL)
    if FLAGS.output_label_map:
        label_maps.derive(folders, FLAGS.annotations_dir, Path(label_map_path))
    labels = label_maps.load_labels(label_map_path)
    jobs = pascal_records.collect_jobs(folders, FLAGS.set, FLAGS.annotations_dir, FLAGS.images_dir)
    pascal_records.check_classes(jobs, labels, label_map_path)
    summary = pascal_records.create_records(
        jobs,
        labels,
        FLAGS.output_path,
        num_shards=FLAGS.num_shards,
        ignore_difficult_instances=FLAGS.ignore_difficult_instances,
        verify_images=FLAGS.verify_images,
    )
    print("\n".join(summary.lines()))


def run() -> None:
    command.run(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
