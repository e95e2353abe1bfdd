"""From an annotated picture to a record: what is kept, what is repaired, and the report of it.

Shape letters: N objects of one picture.

This is the road that all converters share. `convert` does one picture; `create_records` does many,
in this process or in several, and beam_pipeline.py does them on a cluster. Loads TensorFlow only
when records are written.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from object_detection_mtl.data import image_files
from object_detection_mtl.dataset_tools import conversion_report, worker_pool
from object_detection_mtl.dataset_tools.annotated_images import (
    AnnotatedObject,
    AnnotatedPicture,
    DataError,
)
from object_detection_mtl.dataset_tools.conversion_options import ConversionOptions
from object_detection_mtl.dataset_tools.conversion_report import Summary


class Converted(NamedTuple):
    """The record of one picture, None if it was left out, and what there is to report."""

    serialized: bytes | None
    report: Summary


def create_records(
    pictures: Sequence[AnnotatedPicture],
    output_path: str | Path,
    *,
    options: ConversionOptions | None = None,
    num_shards: int = 1,
    num_processes: int = 1,
) -> Summary:
    """Writes records; the shards appear when all is written, or not at all.

    The records, and which shard holds which, depend on the pictures and options alone, not on the
    number of processes.

    Args:
      pictures: the data set.
      output_path: name of the record; with several shards -00000-of-000NN is appended.
      options: how to convert.
      num_shards: number of files, filled in turn.
      num_processes: how many processes convert pictures side by side.

    Raises:
      DataError: no picture could be used; nothing is written then.
    """
    from object_detection_mtl.dataset_tools.shard_writer import ShardWriter

    report = Summary()
    task = functools.partial(convert, options=options or ConversionOptions())
    results = worker_pool.map_in_order(task, pictures, num_processes, use_one_thread)
    with ShardWriter(output_path, num_shards) as writer, contextlib.closing(results):
        for converted in tqdm(
            results, total=len(pictures), desc="pictures", unit="picture", disable=None
        ):
            report.add(converted.report)
            if converted.serialized is not None:
                writer.write(converted.serialized)
    refuse_nothing(report)
    return report


def seconds_per_picture(options: ConversionOptions) -> float:
    """About how long a photograph of half a megapixel takes, as benchmarks/record_creation.py
    measures it on one core."""
    verifying = 1e-3 if options.verify_images else 0.0
    return 5e-4 + verifying + (3e-3 if options.auxiliary_labels is not None else 0.0)


def use_one_thread() -> None:
    """For a process that is one of many: there is one of them for every processor."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def refuse_nothing(report: Summary) -> None:
    """Raises DataError if no picture was written."""
    if not report.pictures:
        raise DataError("nothing was written. " + "; ".join(report.lines()[1:]))


def convert(picture: AnnotatedPicture, options: ConversionOptions) -> Converted:
    """Makes the record of one picture."""
    report = Summary()
    image = _read_image(picture, options.verify_images, report)
    if image is None:
        return Converted(None, report)
    return Converted(_serialize(picture, image, options, report), report)


def _read_image(
    picture: AnnotatedPicture, verify: bool, report: Summary
) -> image_files.EncodedImage | None:
    if picture.path is None:
        report.note(conversion_report.MISSING, picture.filename)
        return None
    try:
        image = image_files.read_encoded_image(picture.path, verify)
        if image.rotated and picture.size == (image.width, image.height):
            image = image_files.rotate_upright(image)
            report.note(conversion_report.UPRIGHT, picture.path.name)
    except image_files.ImageError as error:
        report.note(conversion_report.UNREADABLE, f"{picture.path}: {error}")
        return None
    if image.reencoded:
        report.note(conversion_report.REENCODED, picture.path.name)
    return image


def _serialize(
    picture: AnnotatedPicture,
    image: image_files.EncodedImage,
    options: ConversionOptions,
    report: Summary,
) -> bytes:
    from object_detection_mtl.data.example_format import build_example

    annotated = _relative_boxes(picture, image, report)
    boxes, kept = _usable(picture, annotated, report)
    objects = [picture.objects[row] for row in kept]
    report.add_picture(len(objects))
    example = build_example(
        encoded=image.data,
        image_format=image.format,
        height=image.height,
        width=image.width,
        filename=picture.filename,
        source_id=picture.source_id,
        boxes=boxes,
        class_texts=[item.name for item in objects],
        class_labels=[item.label for item in objects],
        **{name: [item.details[name] for item in objects] for name in picture.details},
    )
    if options.auxiliary_labels is not None:
        from object_detection_mtl.dataset_tools import label_writing

        labels = label_writing.make_labels(
            options.auxiliary_labels,
            boxes=annotated,
            classes=[item.label for item in picture.objects],
            image_size=(image.height, image.width),
            source_id=picture.source_id,
        )
        label_writing.add_labels(example, labels, kept)
    # In any order of the keys, records of the same picture would differ from process to process.
    return example.SerializeToString(deterministic=True)


def _relative_boxes(
    picture: AnnotatedPicture, image: image_files.EncodedImage, report: Summary
) -> np.ndarray:
    """Boxes [N, 4] float64 of all objects as annotated, as fractions of the picture."""
    height, width = _frame_size(picture, image, report)
    corners = [(item.ymin, item.xmin, item.ymax, item.xmax) for item in picture.objects]
    return np.array(corners, np.float64).reshape(-1, 4) / [height, width, height, width]


def _usable(
    picture: AnnotatedPicture, annotated: np.ndarray, report: Summary
) -> tuple[np.ndarray, list[int]]:
    """Boxes [number stored, 4] float32, clipped to the picture, and the rows they had."""
    boxes = annotated.astype(np.float32)
    clipped = np.clip(boxes, 0.0, 1.0)
    has_area = np.all(clipped[:, 2:] > clipped[:, :2], axis=1)
    changed = np.any(clipped != boxes, axis=1)
    kept = []
    for row, item in enumerate(picture.objects):
        trouble = _trouble(item, bool(has_area[row]), bool(changed[row]))
        if trouble is not None:
            report.note(trouble, picture.origin)
        if trouble in (None, conversion_report.CLIPPED):
            kept.append(row)
    return clipped[kept], kept


def _trouble(item: AnnotatedObject, has_area: bool, changed: bool) -> str | None:
    if item.left_out is not None:
        return item.left_out
    if not has_area:
        return conversion_report.EMPTY
    return conversion_report.CLIPPED if changed else None


def _frame_size(
    picture: AnnotatedPicture, image: image_files.EncodedImage, report: Summary
) -> tuple[int, int]:
    """Height and width of the frame that the annotation's coordinates are measured in.

    The picture's own size, unless the annotation states another one of the same shape (within 2 %):
    then the boxes were drawn on a scaled copy.
    """
    own, stated = (image.height, image.width), picture.size
    if stated is None or stated == own:
        return own
    shape = (stated[0] / own[0]) / (stated[1] / own[1])
    same_shape = 0.98 < shape < 1.02
    report.note(
        conversion_report.RESIZED if same_shape else conversion_report.CONTRADICTION, picture.origin
    )
    return stated if same_shape else own
