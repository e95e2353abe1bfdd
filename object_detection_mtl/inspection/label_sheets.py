"""Label sheets of the first images of a dataset, and an HTML page of them."""

from __future__ import annotations

import html
import itertools
import re
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import logging
from google.protobuf.message import DecodeError
from tqdm import tqdm

from object_detection_mtl import output_paths
from object_detection_mtl.config.errors import printable
from object_detection_mtl.data import example_decoder, graph_errors
from object_detection_mtl.data.augmentation import IMAGE, Example
from object_detection_mtl.data.example_descriptions import ObjectDescriber, with_place
from object_detection_mtl.dataset_tools import label_writing
from object_detection_mtl.fields import Batch, Groundtruth, TfExample
from object_detection_mtl.inspection.label_sources import LabelSource
from object_detection_mtl.mtl.closeness_task import ClosenessLabels
from object_detection_mtl.mtl.foreground_task import ForegroundLabels
from object_detection_mtl.mtl.task_labels import TaskLabelMaker
from object_detection_mtl.mtl.window_task import WindowLabels
from object_detection_mtl.visualization import label_sheet as drawing

DecodeFn = Callable[[bytes, str], Example]


def write_label_sheets(
    source: LabelSource,
    output_dir: str | Path,
    *,
    num_images: int = 20,
    num_windows: int = 4,
    seed: int = 0,
    stored_labels: bool = False,
) -> Path:
    """Write a label sheet for each of the first images, and index.html.

    Args:
        source: the records.
        output_dir: a directory; created if it does not exist.
        num_images: maximum number of images.
        num_windows: number of windows to draw for each image.
        seed: seed of computed windows.
        stored_labels: draw the labels that the records store instead of computed ones.

    Returns:
        The path of index.html.

    Raises:
        ValueError: there is no image, or a record is invalid or stores no labels.
        FileExistsError: the output directory is a file.
    """
    output_dir = Path(output_dir)
    labels = TaskLabelMaker(
        (WindowLabels(num_windows=num_windows), ClosenessLabels(), ForegroundLabels()),
        source.num_classes,
        from_records=stored_labels,
    )
    decode = _make_decode(source, labels, seed)
    drawn: list[tuple[str, str]] = []
    first = itertools.islice(source.examples, num_images)
    for number, serialized in enumerate(tqdm(first, desc="sheets", unit="sheet", disable=None), 1):
        labeled = _labeled(decode(serialized, source.place(number - 1)), num_windows)
        output_paths.make_directory(output_dir)
        file_name = f"{number:04d}_{safe_file_name(labeled.name)}.png"
        drawing.draw_label_sheet(labeled, source.names).save(output_dir / file_name)
        drawn.append((labeled.name, file_name))
    if not drawn:
        raise ValueError(
            "no image to draw, expected at least one. " + "; ".join(source.report.lines()[1:])
        )
    index = output_dir / "index.html"
    index.write_text(make_page(drawn, source.report.lines()[1:]), encoding="utf-8")
    return index


def _make_decode(source: LabelSource, labels: TaskLabelMaker, seed: int) -> DecodeFn:
    """Return decode(serialized record, its name) -> example with stored or computed labels."""
    stored = labels if labels.from_records else None
    decode = example_decoder.make_decoder(source.num_classes, source.categories, stored=stored)
    describer = ObjectDescriber(source.categories, None)

    def decode_with_labels(serialized: bytes, name: str) -> Example:
        if labels.from_records:
            _raise_without_labels(serialized, name)
        parsed = example_decoder.parse_now(tf.constant(serialized), name, stored=stored)
        try:
            example = decode(parsed, tf.constant(name))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(with_place(graph_errors.explain(error), name)) from error
        for kind in np.flatnonzero(example[Batch.issues].numpy()):
            stored_example = tf.train.Example.FromString(serialized)
            message = describer.describe(int(kind), stored_example, name)
            if message:
                logging.warning("%s", message)
        if labels.from_records:
            return example
        window_seed = tf.constant([seed, label_writing.number_of(_text(example[Batch.image_id]))])
        return example | labels.label(example, tf.shape(example[IMAGE])[:2], window_seed)

    return decode_with_labels


def _raise_without_labels(serialized: bytes, name: str) -> None:
    try:
        example = tf.train.Example.FromString(serialized)
    except DecodeError as error:
        raise ValueError(f"{example_decoder.CORRUPT_RECORD} {name}") from error
    if TfExample.edgemask not in example.features.feature:
        raise ValueError(
            f"{name} stores no auxiliary labels (no {TfExample.edgemask}); create_pascal_tf_record "
            "and create_coco_tf_record store them with --write_auxiliary_labels"
        )


def _labeled(example: Example, num_windows: int) -> drawing.LabeledImage:
    number = min(num_windows, int(example[Groundtruth.num_windows]))
    return drawing.LabeledImage(
        name=_text(example[Batch.image_id]),
        image=example[IMAGE].numpy(),
        boxes=example[Groundtruth.boxes].numpy(),
        classes=example[Groundtruth.classes].numpy(),
        closeness=example[Groundtruth.closeness].numpy(),
        windows=example[Groundtruth.window_boxes].numpy()[:number],
        window_labels=example[Groundtruth.window_classes].numpy()[:number],
        edgemask=example[Groundtruth.edgemask].numpy(),
    )


def _text(value: tf.Tensor) -> str:
    return value.numpy().decode(errors="replace")


def safe_file_name(name: str) -> str:
    """Return an image's name with only the characters that are safe in a file name."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[-60:].lstrip(".") or "image"


def make_page(drawn: Sequence[tuple[str, str]], remarks: Sequence[str]) -> str:
    """Return the HTML page that shows all sheets.

    Args:
        drawn: name of each image and the file of its sheet.
        remarks: notes about the dataset.

    Returns:
        The page.
    """
    links = "\n".join(
        f'<li><a href="#p{number}">{html.escape(name)}</a></li>'
        for number, (name, _) in enumerate(drawn, 1)
    )
    sheets = "\n".join(
        f'<figure id="p{number}"><a href="{urllib.parse.quote(file_name)}">'
        f'<img src="{urllib.parse.quote(file_name)}" alt="{html.escape(name)}" loading="lazy">'
        "</a></figure>"
        for number, (name, file_name) in enumerate(drawn, 1)
    )
    notes = "".join(f"<p>{html.escape(remark)}</p>\n" for remark in remarks)
    return printable(_PAGE.format(links=links, sheets=sheets, notes=notes), breaks=True)


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Auxiliary labels</title>
<style>
body {{ font: 15px/1.4 sans-serif; margin: 1.5em auto; max-width: 1280px; padding: 0 1em; }}
ol {{ columns: 16em; }}
figure {{ margin: 2em 0; border: 1px solid #ccc; }}
img {{ display: block; width: 100%; height: auto; }}
</style>
</head>
<body>
<h1>Auxiliary labels</h1>
{notes}<ol>
{links}
</ol>
{sheets}
</body>
</html>
"""
