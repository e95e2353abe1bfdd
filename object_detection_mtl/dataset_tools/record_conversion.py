"""Conversion of annotated images to records.

Shape letters: N objects of one image.

All converters share this code: `convert_image` converts one image; `create_records` converts a
dataset, in this process or in several; beam_conversion.py does it on a cluster. TensorFlow is
imported only when records are written.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from object_detection_mtl.data import annotated_pixels, image_files
from object_detection_mtl.dataset_tools import conversion_report, worker_pool
from object_detection_mtl.dataset_tools.annotated_images import (
    AnnotatedImage,
    AnnotatedObject,
    DataError,
)
from object_detection_mtl.dataset_tools.conversion_options import ConversionOptions
from object_detection_mtl.dataset_tools.conversion_report import ConversionReport


class ConvertedImage(NamedTuple):
    """The serialized record of one image (None if the image was skipped) and its report."""

    serialized: bytes | None
    report: ConversionReport


def create_records(
    images: Sequence[AnnotatedImage],
    output_path: str | Path,
    *,
    options: ConversionOptions | None = None,
    num_shards: int = 1,
    num_processes: int = 1,
) -> ConversionReport:
    """Convert a dataset to records.

    The shards appear under their names when all of them are complete; after an error none does.
    The records and their distribution over the shards depend on the images and the options, not on
    the number of processes.

    Args:
        images: the dataset.
        output_path: name of the record; with several shards -00000-of-000NN is appended.
        options: how to convert.
        num_shards: number of files; records are written to them in turn.
        num_processes: number of processes that convert images in parallel.

    Returns:
        The report of the conversion.

    Raises:
        DataError: no image could be used; nothing is written then.
    """
    from object_detection_mtl.dataset_tools.shard_writer import ShardWriter

    report = ConversionReport()
    task = functools.partial(convert_image, options=options or ConversionOptions())
    results = worker_pool.map_in_order(task, images, num_processes, use_one_thread)
    with ShardWriter(output_path, num_shards) as writer, contextlib.closing(results):
        for converted in tqdm(
            results, total=len(images), desc="images", unit="image", disable=None
        ):
            report.add(converted.report)
            if converted.serialized is not None:
                writer.write(converted.serialized)
    raise_if_empty(report)
    return report


def seconds_per_image(options: ConversionOptions) -> float:
    """Return the approximate time to convert an image of half a megapixel on one core.

    benchmarks/record_creation.py measures it.
    """
    verifying = 1e-3 if options.verify_images else 0.0
    return 5e-4 + verifying + (3e-3 if options.auxiliary_labels is not None else 0.0)


def use_one_thread() -> None:
    """Limit TensorFlow to one thread; there is one worker process for each CPU core."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def raise_if_empty(report: ConversionReport) -> None:
    """Raise a DataError if no image was written."""
    if not report.images:
        raise DataError("nothing was written. " + "; ".join(report.lines()[1:]))


def convert_image(annotated: AnnotatedImage, options: ConversionOptions) -> ConvertedImage:
    """Return the record of one image.

    Args:
        annotated: the image with its objects.
        options: how to convert.

    Returns:
        The serialized record, None if the image is missing or unreadable, and the report.
    """
    report = ConversionReport()
    image = _read_image(annotated, options.verify_images, report)
    if image is None:
        return ConvertedImage(None, report)
    return ConvertedImage(_serialize(annotated, image, options, report), report)


def _read_image(
    annotated: AnnotatedImage, verify: bool, report: ConversionReport
) -> image_files.EncodedImage | None:
    if annotated.path is None:
        report.note(conversion_report.MISSING, annotated.filename)
        return None
    try:
        image = image_files.read_encoded_image(annotated.path, verify)
        is_reencoded = image.reencoded
        if annotated_pixels.is_annotated_upright(
            image.orientation, (image.height, image.width), annotated.size
        ):
            image = image_files.rotate_upright(image)
            report.note(conversion_report.UPRIGHT, annotated.path.name)
        elif image.orientation != 1:
            report.note(conversion_report.NOT_UPRIGHT, annotated.path.name)
    except (image_files.ImageError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        report.note(conversion_report.UNREADABLE, f"{annotated.path}: {reason}")
        if isinstance(error, image_files.CameraFormatError):
            report.note(conversion_report.CAMERA_FORMAT, annotated.path.name)
        return None
    if is_reencoded:
        report.note(conversion_report.REENCODED, annotated.path.name)
    return image


def _serialize(
    annotated: AnnotatedImage,
    image: image_files.EncodedImage,
    options: ConversionOptions,
    report: ConversionReport,
) -> bytes:
    from object_detection_mtl.data.example_format import build_example

    all_boxes = _relative_boxes(annotated, image, report)
    boxes, kept = stored_boxes(annotated, all_boxes, report)
    objects = [annotated.objects[row] for row in kept]
    report.add_image([item.name for item in objects])
    example = build_example(
        encoded=image.data,
        image_format=image.format,
        height=image.height,
        width=image.width,
        filename=annotated.filename,
        source_id=annotated.source_id,
        boxes=boxes,
        class_texts=[item.name for item in objects],
        class_labels=[item.label for item in objects],
        **{name: [item.details[name] for item in objects] for name in annotated.details},
    )
    if options.auxiliary_labels is not None:
        from object_detection_mtl.dataset_tools import label_writing

        labels = label_writing.make_labels(
            options.auxiliary_labels,
            boxes=all_boxes,
            classes=[item.label for item in annotated.objects],
            image_size=(image.height, image.width),
            source_id=annotated.source_id,
        )
        label_writing.add_labels(example, labels, kept)
    # The order of the keys is fixed: otherwise records of one image differ between processes.
    return example.SerializeToString(deterministic=True)


def _relative_boxes(
    annotated: AnnotatedImage, image: image_files.EncodedImage, report: ConversionReport
) -> np.ndarray:
    """Return the annotated boxes of all objects, [N, 4] float64, as fractions of the image."""
    height, width = _annotation_size(annotated, image, report)
    corners = [(item.ymin, item.xmin, item.ymax, item.xmax) for item in annotated.objects]
    return np.array(corners, np.float64).reshape(-1, 4) / [height, width, height, width]


def stored_boxes(
    annotated: AnnotatedImage, all_boxes: np.ndarray, report: ConversionReport
) -> tuple[np.ndarray, list[int]]:
    """Return the boxes to store, float32 and clipped to the image, and their rows in `all_boxes`.

    Dropped objects and clipped boxes are reported.
    """
    boxes = all_boxes.astype(np.float32)
    clipped = np.clip(boxes, 0.0, 1.0)
    has_area = np.all(clipped[:, 2:] > clipped[:, :2], axis=1)
    changed = np.any(clipped != boxes, axis=1)
    kept = []
    for row, item in enumerate(annotated.objects):
        issue = _issue(item, bool(has_area[row]), bool(changed[row]))
        if issue is not None:
            report.note(issue, annotated.origin)
        if issue in (None, conversion_report.CLIPPED):
            kept.append(row)
            if max(item.ymax - item.ymin, item.xmax - item.xmin) <= 1.0:
                report.note(conversion_report.TINY, annotated.origin)
    return clipped[kept], kept


def _issue(item: AnnotatedObject, has_area: bool, changed: bool) -> str | None:
    if item.drop_reason is not None:
        return item.drop_reason
    if not has_area:
        return conversion_report.EMPTY
    return conversion_report.CLIPPED if changed else None


def _annotation_size(
    annotated: AnnotatedImage, image: image_files.EncodedImage, report: ConversionReport
) -> tuple[int, int]:
    """Return the height and width of the image on which the objects were annotated.

    These are the size of the image itself, unless the annotation states another size of the same
    aspect ratio (within 2 %): then the boxes were drawn on a resized copy.
    """
    own, stated = (image.height, image.width), annotated.size
    if stated is None or stated == own:
        return own
    is_resized = annotated_pixels.is_resized(stated, own)
    issue = conversion_report.RESIZED if is_resized else conversion_report.CONTRADICTION
    report.note(issue, annotated.origin)
    return stated if is_resized else own
