"""Converts a COCO instances file and its pictures to TFRecords of the OD API's layout.

    create_coco_tf_record --annotations_file=annotations/instances_val2017.json \\
        --image_dir=val2017 --output_label_map=coco_label_map.pbtxt --output_path=val.record

One set of pictures at a time. Pictures without annotation are kept. Pictures that are missing, cut
short or no pictures are left out and named at the end; boxes are clipped to the picture, and those
of which nothing is left (no width, no height, outside) are left out and counted. A file that is no
instances file and a class that the label map lacks are errors, found before anything is written.
The output appears under its name only when it is complete.
"""

from __future__ import annotations

import functools

from absl import flags

from object_detection_mtl.cli import command_line
from object_detection_mtl.dataset_tools import (
    coco_annotations,
    coco_conversion,
    conversion_command,
    dataset_label_map,
)

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("annotations_file", None, "The COCO instances file (.json).")
    flags.DEFINE_string(
        "image_dir", None, "Folder of the pictures, which the file's names are relative to."
    )
    conversion_command.define_flags("the category ids of the file are the class numbers")
    flags.mark_flags_as_required(["annotations_file", "image_dir"])


def main() -> None:
    conversion_command.prepare()
    file = coco_annotations.read(FLAGS.annotations_file)
    labels, label_map_name = conversion_command.load_labels(
        derive=lambda path: dataset_label_map.write(coco_annotations.class_numbers(file), path),
        default=lambda: _own_labels(file),
    )
    coco_conversion.check_classes(file, labels, label_map_name)
    pictures = coco_conversion.as_pictures(file, FLAGS.image_dir, labels)
    load = functools.partial(
        coco_conversion.load_pictures,
        FLAGS.annotations_file,
        FLAGS.image_dir,
        labels,
        label_map_name=label_map_name,
    )
    conversion_command.run(pictures, max(labels.values()), load)
    if file.stray:
        print(f"annotations of pictures that the file does not list: {file.stray}")


def _own_labels(file: coco_annotations.CocoFile) -> tuple[dict[str, int], str]:
    if not coco_annotations.ids_serve(file):
        numbers = sorted(file.categories.values())
        raise ValueError(
            f"{file.path}: the category ids are {numbers[0]} to {numbers[-1]}, expected class "
            f"numbers of 1 to at most {coco_annotations.HIGHEST_ID} (0 is background). Give a "
            "label map with --label_map_path, or write one with --output_label_map"
        )
    return coco_annotations.class_numbers(file), str(file.path)


def run() -> None:
    command_line.run(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
