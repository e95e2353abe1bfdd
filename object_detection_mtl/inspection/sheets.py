"""Draws the labels of the first pictures of a source, and a page that shows all drawings."""

from __future__ import annotations

import html
import itertools
import re
import urllib.parse
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from object_detection_mtl.data import decoder
from object_detection_mtl.data.augment import IMAGE, Example
from object_detection_mtl.data.example import BOX_KEYS
from object_detection_mtl.dataset_tools import auxiliary
from object_detection_mtl.dataset_tools.conversion import AuxiliaryLabels
from object_detection_mtl.fields import Batch, Groundtruth
from object_detection_mtl.inspection.sources import Source
from object_detection_mtl.visualization import labels as drawing

Decode = Callable[[bytes, str], Example]


def write(
    source: Source,
    output_dir: str | Path,
    *,
    num_images: int = 20,
    num_windows: int = 4,
    seed: int = 0,
    stored_labels: bool = False,
) -> Path:
    """Writes a sheet for each picture, and index.html.

    Args:
      source: the pictures.
      output_dir: a folder; made if there is none.
      num_images: number of pictures at most, the first ones.
      num_windows: windows to draw of each.
      seed: of new windows.
      stored_labels: draw the labels that the records hold.

    Returns:
      Where index.html is.

    Raises:
      ValueError: there is no picture; a record cannot be used, or holds no labels.
      FileExistsError: the folder is a file.
    """
    output_dir = Path(output_dir)
    decode = _make_decode(source)
    settings = AuxiliaryLabels(source.num_classes, num_windows, seed)
    drawn: list[tuple[str, str]] = []
    first = itertools.islice(source.examples, num_images)
    for number, serialized in enumerate(tqdm(first, desc="sheets", unit="sheet", disable=None), 1):
        decoded = decode(serialized, f"record {number}")
        labelled = (
            _with_stored_labels(serialized, decoded, source.num_classes, num_windows)
            if stored_labels
            else _with_new_labels(decoded, settings)
        )
        output_dir.mkdir(parents=True, exist_ok=True)
        file_name = f"{number:04d}_{_safe(labelled.name)}.png"
        drawing.draw_sheet(labelled, source.names).save(output_dir / file_name)
        drawn.append((labelled.name, file_name))
    if not drawn:
        raise ValueError("there is no picture to draw. " + "; ".join(source.report.lines()[1:]))
    index = output_dir / "index.html"
    index.write_text(page(drawn, source.report.lines()[1:]), encoding="utf-8")
    return index


def _make_decode(source: Source) -> Decode:
    decode = decoder.make_decoder(source.num_classes, source.categories)

    def run(serialized: bytes, name: str) -> Example:
        try:
            return decode(decoder.parse(tf.constant(serialized)), tf.constant(name))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(f"{name} cannot be used: {error.message}") from error

    return run


def _with_new_labels(decoded: Example, settings: AuxiliaryLabels) -> drawing.LabelledPicture:
    """Labels as training makes them, of the decoded objects."""
    image = decoded[IMAGE].numpy()
    boxes = decoded[Groundtruth.boxes].numpy()
    classes = decoded[Groundtruth.classes].numpy()
    name = _text(decoded[Batch.image_id])
    made = auxiliary.make_labels(
        settings, boxes=boxes, classes=classes, image_size=image.shape[:2], source_id=name
    )
    return drawing.LabelledPicture(name, image, boxes, classes, *_in_order(made))


def _with_stored_labels(
    serialized: bytes, decoded: Example, num_classes: int, num_windows: int
) -> drawing.LabelledPicture:
    """What a record holds, with all of its objects, also those that the decoder leaves out."""
    example = tf.train.Example.FromString(serialized)
    features = example.features.feature
    columns = [features[key].float_list.value for key in BOX_KEYS]
    stored = auxiliary.read_labels(example, num_classes)
    number = len(columns[0])
    classes = decoded[Groundtruth.classes].numpy()
    if len(classes) != number:
        classes = np.array(features["image/object/class/label"].int64_list.value, int)
    if not len(stored.closeness) == len(classes) == number:
        raise ValueError(
            f"picture {_text(decoded[Batch.image_id])}: {number} boxes, {len(classes)} classes and "
            f"{len(stored.closeness)} closeness labels, expected the same number of each"
        )
    shown = stored._replace(
        windows=stored.windows[:num_windows], window_labels=stored.window_labels[:num_windows]
    )
    boxes = np.stack(columns, axis=-1).reshape(-1, 4)
    return drawing.LabelledPicture(
        _text(decoded[Batch.image_id]), decoded[IMAGE].numpy(), boxes, classes, *_in_order(shown)
    )


def _in_order(made: auxiliary.Labels) -> tuple[np.ndarray, ...]:
    return made.closeness, made.windows, made.window_labels, made.edgemask


def _text(value: tf.Tensor) -> str:
    return value.numpy().decode(errors="replace")


def _safe(name: str) -> str:
    """A part of a file name, whatever the picture is called."""
    return re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII)[-60:].lstrip(".") or "picture"


def page(drawn: Sequence[tuple[str, str]], remarks: Sequence[str]) -> str:
    """The page that shows all sheets.

    Args:
      drawn: name of each picture and the file of its sheet.
      remarks: what there is to say of the pictures as a whole.
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
    return _PAGE.format(links=links, sheets=sheets, notes=notes)


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
