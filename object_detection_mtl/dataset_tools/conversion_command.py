"""Flags and steps that the conversion commands share."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from object_detection_mtl import beam_runtime
from object_detection_mtl.dataset_tools import dataset_label_map, record_conversion, worker_pool
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedImage
from object_detection_mtl.dataset_tools.conversion_options import (
    AuxiliaryLabelOptions,
    ConversionOptions,
)
from object_detection_mtl.dataset_tools.conversion_report import ConversionReport

FLAGS = flags.FLAGS


def define_flags(label_map_default: str) -> None:
    """Define the flags of every converter.

    Args:
        label_map_default: default numbering of the classes, for the help.
    """
    flags.DEFINE_string("output_path", None, "The record to write.")
    flags.DEFINE_integer(
        "num_shards", 1, "Number of files; more than one are named <output_path>-00000-of-000NN."
    )
    flags.DEFINE_string(
        "label_map_path",
        None,
        f"Label map (.pbtxt) that numbers the classes. Default: {label_map_default}.",
    )
    flags.DEFINE_string(
        "output_label_map",
        None,
        "Instead of --label_map_path: write a label map of all classes found, and use it.",
    )
    flags.DEFINE_bool(
        "verify_images",
        True,
        "Decode every image, to skip those that training could not decode. --noverify_images is "
        "faster and finds truncated files only.",
    )
    flags.DEFINE_integer(
        "num_workers",
        0,
        "Number of processes that convert images in parallel; the records do not depend on it. "
        "0: one for each CPU core if there are enough images.",
    )
    flags.DEFINE_bool(
        "write_auxiliary_labels",
        False,
        "Store windows, closeness labels and foreground mask in the records, as the authors of the "
        "method do. Training computes these labels; only mtl.label_source: RECORD reads them.",
    )
    flags.DEFINE_integer(
        "num_windows", 64, "Number of stored windows of each image.", lower_bound=1
    )
    flags.DEFINE_integer(
        "seed", 0, "Seed of the stored windows.", lower_bound=0, upper_bound=2**31 - 1
    )
    beam_runtime.define_flags("Convert")
    flags.mark_flag_as_required("output_path")


def prepare_process() -> None:
    """Check the combination of flags, and suppress TensorFlow's log.

    TensorFlow only writes files here, and its errors arrive as exceptions. Without these settings
    it searches for a GPU and reports an error if there is none.

    Raises:
        ValueError: flags contradict each other.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if FLAGS.label_map_path and FLAGS.output_label_map:
        raise ValueError(
            "--label_map_path and --output_label_map are both given; give the first to use a label "
            "map, or the second to write one"
        )
    if FLAGS.runner and FLAGS.num_workers:
        raise ValueError(
            f"--num_workers is {FLAGS.num_workers}, but it has no effect with --runner; give the "
            "number of workers as --runner_option, such as direct_num_workers=4"
        )
    if FLAGS.runner_option and not FLAGS.runner:
        raise ValueError("--runner_option is given without --runner; give both or neither")


def load_labels(
    derive: Callable[[Path], None], default: Callable[[], tuple[dict[str, int], str]]
) -> tuple[dict[str, int], str]:
    """Return the labels that the flags select.

    Args:
        derive: writes the label map of the dataset to a path, for --output_label_map.
        default: returns the labels if none of the flags is given.

    Returns:
        The labels, class name -> number, and the name of their label map.
    """
    path = FLAGS.label_map_path or FLAGS.output_label_map
    if path is None:
        return default()
    if FLAGS.output_label_map:
        derive(Path(path))
    return dataset_label_map.load_labels(path), str(path)


def convert_dataset(
    images: Sequence[AnnotatedImage],
    num_classes: int,
    load: Callable[[], Sequence[AnnotatedImage]],
) -> None:
    """Convert a dataset with the options of the flags, and print the report.

    Args:
        images: the dataset.
        num_classes: K, the highest number of the label map.
        load: returns the dataset; it can be sent to another machine.
    """
    auxiliary = AuxiliaryLabelOptions(num_classes, FLAGS.num_windows, FLAGS.seed)
    options = ConversionOptions(
        verify_images=FLAGS.verify_images,
        auxiliary_labels=auxiliary if FLAGS.write_auxiliary_labels else None,
    )
    report = _convert(images, load, options)
    print("\n".join([*report.lines(), *report.class_lines()]))


def _convert(
    images: Sequence[AnnotatedImage],
    load: Callable[[], Sequence[AnnotatedImage]],
    options: ConversionOptions,
) -> ConversionReport:
    if FLAGS.runner:
        from object_detection_mtl.dataset_tools import beam_conversion

        return beam_conversion.create_records(
            load,
            FLAGS.output_path,
            options=options,
            num_shards=FLAGS.num_shards,
            runner=FLAGS.runner,
            runner_options=FLAGS.runner_option,
        )
    seconds = len(images) * record_conversion.seconds_per_image(options)
    return record_conversion.create_records(
        images,
        FLAGS.output_path,
        options=options,
        num_shards=FLAGS.num_shards,
        num_processes=worker_pool.choose_number(FLAGS.num_workers, seconds),
    )
