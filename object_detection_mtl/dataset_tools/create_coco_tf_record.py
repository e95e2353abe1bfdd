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

from object_detection_mtl.dataset_tools import (
    coco,
    coco_records,
    command,
    converter,
    label_maps,
)

FLAGS = flags.FLAGS


def define_flags() -> None:
    flags.DEFINE_string("annotations_file", None, "The COCO instances file (.json).")
    flags.DEFINE_string(
        "image_dir", None, "Folder of the pictures, which the file's names are relative to."
    )
    converter.define_flags("the category ids of the file are the class numbers")
    flags.mark_flags_as_required(["annotations_file", "image_dir"])


def main() -> None:
    converter.prepare()
    file = coco.read(FLAGS.annotations_file)
    labels, label_map_name = converter.load_labels(
        derive=lambda path: label_maps.write(coco.class_numbers(file), path),
        default=lambda: _own_labels(file),
    )
    coco_records.check_classes(file, labels, label_map_name)
    pictures = coco_records.as_pictures(file, FLAGS.image_dir, labels)
    load = functools.partial(
        coco_records.load_pictures,
        FLAGS.annotations_file,
        FLAGS.image_dir,
        labels,
        label_map_name=label_map_name,
    )
    converter.run(pictures, max(labels.values()), load)
    if file.stray:
        print(f"annotations of pictures that the file does not list: {file.stray}")


def _own_labels(file: coco.CocoFile) -> tuple[dict[str, int], str]:
    if not coco.ids_serve(file):
        numbers = sorted(file.categories.values())
        raise ValueError(
            f"the category ids of {file.path} run from {numbers[0]} to {numbers[-1]}, and class "
            f"numbers from 1 to at most {coco.HIGHEST_ID} (0 is background): give a label map with "
            "--label_map_path, or have one written by --output_label_map"
        )
    return coco.class_numbers(file), str(file.path)


def run() -> None:
    command.run(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
