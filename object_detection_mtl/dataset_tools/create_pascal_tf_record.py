r"""Convert PASCAL VOC directories to TFRecords of the OD API's format.

    create_pascal_tf_record --data_dir=VOCdevkit --year=VOC2007 --set=trainval \
        --label_map_path=pascal_label_map.pbtxt --output_path=voc2007_trainval.record

--data_dir is the parent directory of VOC2007 and VOC2012, or a directory with Annotations and
JPEGImages. Missing and unreadable images are skipped and reported. Boxes are clipped to the image;
boxes without area inside the image are dropped and counted. An unreadable annotation and a class
that the label map lacks are errors, raised before anything is written. The output gets its name
when it is complete.
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
from object_detection_mtl.dataset_tools.entry_notes import EntryNotes

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Define the flags of the command."""
    flags.DEFINE_string(
        "data_dir", None, "Parent directory of VOC2007 and VOC2012, or a VOC directory."
    )
    flags.DEFINE_enum(
        "year",
        "VOC2007",
        voc_annotations.YEARS,
        "Year to convert; ignored if --data_dir is a VOC directory.",
    )
    flags.DEFINE_string(
        "set",
        None,
        "Name of a list in ImageSets/Main. Default: train, or every annotation file if the "
        "directory has no ImageSets.",
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
    flags.DEFINE_bool("ignore_difficult_instances", False, "Drop objects marked as difficult.")
    conversion_command.define_flags("that of the 20 PASCAL classes")
    flags.mark_flag_as_required("data_dir")


def main() -> None:
    """Convert the dataset that the flags select."""
    conversion_command.prepare_process()
    directories = voc_annotations.find_directories(FLAGS.data_dir, FLAGS.year)
    labels, label_map_name = conversion_command.load_labels(
        derive=lambda path: voc_conversion.derive_label_map(
            directories, FLAGS.annotations_dir, path
        ),
        default=lambda: (
            dataset_label_map.load_labels(dataset_label_map.PASCAL),
            str(dataset_label_map.PASCAL),
        ),
    )
    load = functools.partial(
        voc_conversion.load_images,
        directories,
        labels,
        set_name=FLAGS.set,
        annotations_dir=FLAGS.annotations_dir,
        images_dir=FLAGS.images_dir,
        label_map_name=label_map_name,
        ignore_difficult_instances=FLAGS.ignore_difficult_instances,
    )
    notes = EntryNotes()
    conversion_command.convert_dataset(load(notes=notes), max(labels.values()), load)
    for line in notes.lines():
        print(line)


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
