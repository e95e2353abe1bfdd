r"""Convert a COCO instances file and its images to TFRecords of the OD API's format.

    create_coco_tf_record --annotations_file=annotations/instances_val2017.json \
        --image_dir=val2017 --output_label_map=coco_label_map.pbtxt --output_path=val.record

Converts one split at a time. Images without annotations are kept. Missing and unreadable images
are skipped and reported. Boxes are clipped to the image; boxes without area inside the image are
dropped and counted. A file that is not a COCO instances file and a class that the label map lacks
are errors, raised before anything is written. The output gets its name when it is complete.
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
    """Define the flags of the command."""
    flags.DEFINE_string("annotations_file", None, "The COCO instances file (.json).")
    flags.DEFINE_string(
        "image_dir", None, "Directory of the images; the names in the file are relative to it."
    )
    conversion_command.define_flags("the category ids of the file are the class numbers")
    flags.mark_flags_as_required(["annotations_file", "image_dir"])


def main() -> None:
    """Convert the dataset that the flags select."""
    conversion_command.prepare_process()
    file = coco_annotations.read_coco_file(FLAGS.annotations_file)
    labels, label_map_name = conversion_command.load_labels(
        derive=lambda path: dataset_label_map.write_label_map(
            coco_annotations.class_numbers(file), path
        ),
        default=lambda: _own_labels(file),
    )
    coco_conversion.check_classes(file, labels, label_map_name)
    images = coco_conversion.to_annotated_images(file, FLAGS.image_dir, labels)
    load = functools.partial(
        coco_conversion.load_images,
        FLAGS.annotations_file,
        FLAGS.image_dir,
        labels,
        label_map_name=label_map_name,
    )
    conversion_command.convert_dataset(images, max(labels.values()), load)
    for note in file.notes:
        print(note)
    if file.num_unlisted:
        print(f"annotations ignored, image not listed in the file: {file.num_unlisted}")


def _own_labels(file: coco_annotations.CocoFile) -> tuple[dict[str, int], str]:
    if not coco_annotations.ids_are_class_numbers(file):
        numbers = sorted(file.categories.values())
        raise ValueError(
            f"{file.path}: the category ids are {numbers[0]} to {numbers[-1]}, expected class "
            f"numbers of 1 to at most {coco_annotations.HIGHEST_ID} (0 is background). Give a "
            "label map with --label_map_path, or write one with --output_label_map"
        )
    return coco_annotations.class_numbers(file), str(file.path)


def run() -> None:
    """Run the command."""
    command_line.run_command(define_flags, main, __doc__ or "")


if __name__ == "__main__":
    run()
