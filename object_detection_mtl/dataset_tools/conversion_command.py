"""What the converters' command lines share: flags, label maps, running, the report."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from absl import flags

from object_detection_mtl import beam_runtime
from object_detection_mtl.dataset_tools import dataset_label_map, record_conversion, worker_pool
from object_detection_mtl.dataset_tools.annotated_images import AnnotatedPicture
from object_detection_mtl.dataset_tools.conversion_options import (
    AuxiliaryLabelOptions,
    ConversionOptions,
)
from object_detection_mtl.dataset_tools.conversion_report import Summary

FLAGS = flags.FLAGS


def define_flags(label_map_default: str) -> None:
    """Flags of every converter.

    Args:
      label_map_default: what numbers the classes if no label map is given, for the help.
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
        "In place of --label_map_path: write a label map of all classes found, and use it.",
    )
    flags.DEFINE_bool(
        "verify_images",
        False,
        "Decode every picture, which also finds damage in the middle of a file (slower).",
    )
    flags.DEFINE_integer(
        "num_workers",
        0,
        "Processes that convert pictures side by side; the records are the same for any number. "
        "0: one for every processor if there are pictures enough.",
    )
    flags.DEFINE_bool(
        "write_auxiliary_labels",
        False,
        "Store windows, closeness and foreground mask in the records, as the authors of the method "
        "do. Training makes these labels by itself; only mtl.label_source: RECORD needs them here.",
    )
    flags.DEFINE_integer("num_windows", 64, "Stored windows of each picture.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of the stored windows.", lower_bound=0, upper_bound=2**31 - 1)
    beam_runtime.define_flags("Convert")
    flags.mark_flag_as_required("output_path")


def prepare() -> None:
    """Checks what the flags say together, and keeps TensorFlow quiet.

    TensorFlow only writes files here, and what fails there comes as an exception: its search for a
    GPU, and its complaint where there is none, are noise.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    if FLAGS.label_map_path and FLAGS.output_label_map:
        raise ValueError(
            "give --label_map_path, a label map to use, or --output_label_map, a file to write one "
            "to, not both"
        )
    if FLAGS.runner and FLAGS.num_workers:
        raise ValueError(
            "--num_workers is for one machine; with --runner say how many by its own "
            "--runner_option, such as direct_num_workers=4"
        )
    if FLAGS.runner_option and not FLAGS.runner:
        raise ValueError("--runner_option needs --runner")


def load_labels(
    derive: Callable[[Path], None], default: Callable[[], tuple[dict[str, int], str]]
) -> tuple[dict[str, int], str]:
    """The labels that the flags ask for, class name to number, and the name of their label map.

    Args:
      derive: writes the label map of the data set to a path, for --output_label_map.
      default: what to return if none of the flags is given.
    """
    path = FLAGS.label_map_path or FLAGS.output_label_map
    if path is None:
        return default()
    if FLAGS.output_label_map:
        derive(Path(path))
    return dataset_label_map.load_labels(path), str(path)


def run(
    pictures: Sequence[AnnotatedPicture],
    num_classes: int,
    load: Callable[[], Sequence[AnnotatedPicture]],
) -> None:
    """Converts as the flags say and prints the report.

    Args:
      pictures: the data set.
      num_classes: K, the highest number of the label map.
      load: returns the data set again, on another machine; it can be sent there.
    """
    auxiliary = AuxiliaryLabelOptions(num_classes, FLAGS.num_windows, FLAGS.seed)
    options = ConversionOptions(
        verify_images=FLAGS.verify_images,
        auxiliary_labels=auxiliary if FLAGS.write_auxiliary_labels else None,
    )
    print("\n".join(_convert(pictures, load, options).lines()))


def _convert(
    pictures: Sequence[AnnotatedPicture],
    load: Callable[[], Sequence[AnnotatedPicture]],
    options: ConversionOptions,
) -> Summary:
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
    seconds = len(pictures) * record_conversion.seconds_per_picture(options)
    return record_conversion.create_records(
        pictures,
        FLAGS.output_path,
        options=options,
        num_shards=FLAGS.num_shards,
        num_processes=worker_pool.choose_number(FLAGS.num_workers, seconds),
    )
