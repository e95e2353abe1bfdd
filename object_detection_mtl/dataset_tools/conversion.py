"""From an annotated picture to a record: what is kept, what is repaired, and the report of it.

Shape letters: N objects of one picture.

This is the road that all converters share. `convert` does one picture; `create_records` does many,
in this process or in several, and beam_pipeline.py does them on a cluster. Loads TensorFlow only
when records are written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from object_detection_mtl.dataset_tools import images, summary, workers
from object_detection_mtl.dataset_tools.annotated import (
    AnnotatedObject,
    AnnotatedPicture,
    DataError,
)
from object_detection_mtl.dataset_tools.summary import Summary


@dataclasses.dataclass(frozen=True)
class AuxiliaryLabels:
    """What stored auxiliary labels are made with.

    Attributes:
      num_classes: K, the highest number of the label map.
      num_windows: random windows of each picture.
      seed: of the windows. Those of a picture depend on it and on the picture's source_id alone.
    """

    num_classes: int
    num_windows: int = 64
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Options:
    """How pictures are converted.

    Attributes:
      verify_images: decode every picture, to find damage that headers do not show.
      auxiliary_labels: store windows, closeness and foreground mask; None: do not.
    """

    verify_images: bool = False
    auxiliary_labels: AuxiliaryLabels | None = None


class Converted(NamedTuple):
    """The record of one picture, None if it was left out, and what there is to report."""

    serialized: bytes | None
    report: Summary


def create_records(
    pictures: Sequence[AnnotatedPicture],
    output_path: str | Path,
    *,
    options: Options | None = None,
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
    from object_detection_mtl.dataset_tools.records import ShardWriter

    report = Summary()
    task = functools.partial(convert, options=options or Options())
    results = workers.map_in_order(task, pictures, num_processes, use_one_thread)
    with ShardWriter(output_path, num_shards) as writer, contextlib.closing(results):
        for converted in tqdm(
            results, total=len(pictures), desc="pictures", unit="picture", disable=None
        ):
            report.add(converted.report)
            if converted.serialized is not None:
                writer.write(converted.serialized)
    refuse_nothing(report)
    return report


def seconds_per_picture(options: Options) -> float:
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


def convert(picture: AnnotatedPicture, options: Options) -> Converted:
    """Makes the record of one picture."""
    report = Summary()
    image = _read_image(picture, options.verify_images, report)
    if image is None:
        return Converted(None, report)
    return Converted(_serialize(picture, image, options, report), report)


def _read_image(
    picture: AnnotatedPicture, verify: bool, report: Summary
) -> images.EncodedImage | None:
    if picture.path is None:
        report.note(summary.MISSING, picture.filename)
        return None
    try:
        image = images.read_image(picture.path, verify)
        if image.sideways and picture.size == (image.width, image.height):
            image = images.turned_upright(image)
            report.note(summary.UPRIGHT, picture.path.name)
    except images.ImageError as error:
        report.note(summary.UNREADABLE, f"{picture.path}: {error}")
        return None
    if image.reencoded:
        report.note(summary.REENCODED, picture.path.name)
    return image


def _serialize(
    picture: AnnotatedPicture, image: images.EncodedImage, options: Options, report: Summary
) -> bytes:
    from object_detection_mtl.data.example import build_example

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
    picture: AnnotatedPicture, image: images.EncodedImage, report: Summary
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
        if trouble in (None, summary.CLIPPED):
            kept.append(row)
    return clipped[kept], kept


def _trouble(item: AnnotatedObject, has_area: bool, changed: bool) -> str | None:
    if item.left_out is not None:
        return item.left_out
    if not has_area:
        return summary.EMPTY
    return summary.CLIPPED if changed else None


def _frame_size(
    picture: AnnotatedPicture, image: images.EncodedImage, report: Summary
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
    report.note(summary.RESIZED if same_shape else summary.CONTRADICTION, picture.origin)
    return stated if same_shape else own
