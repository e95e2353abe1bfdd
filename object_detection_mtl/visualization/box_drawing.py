"""Drawing of boxes with class names and scores.

Shape letters: H W C an image, N boxes. Boxes are [ymin, xmin, ymax, xmax] normalized to the image.
Images are uint8 RGB arrays [H, W, 3] or Pillow images; results are arrays.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from object_detection_mtl import output_paths
from object_detection_mtl.visualization import drawing

# Images whose longer side has fewer pixels are enlarged, so that labels do not cover them.
SMALLEST_LONGER_SIDE = 320


class _Label(NamedTuple):
    text: str
    color: drawing.Color
    box: tuple[float, float, float, float]  # left, top, right, bottom of the labeled box, pixels


def _enlarged(canvas: Image.Image, longer_side: int) -> Image.Image:
    factor = -(-longer_side // max(canvas.size))
    if factor <= 1:
        return canvas
    return canvas.resize((canvas.width * factor, canvas.height * factor), Image.Resampling.NEAREST)


def _overlap(a: tuple, b: tuple) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def place_label(
    box: tuple, size: tuple[float, float], canvas: tuple[int, int], taken: Sequence[tuple]
) -> tuple[float, float, float, float]:
    """Return the place of a label: at its box, inside the image, clear of other labels.

    Args:
        box: left, top, right, bottom of the box, in pixels.
        size: width and height of the label.
        canvas: width and height of the image.
        taken: places of other labels.

    Returns:
        Left, top, right, bottom.
    """
    left, top, right, bottom = box
    width, height = size
    corners = [
        (left, top - height),  # above the box
        (left, top),  # inside, at its upper edge
        (right - width, top - height),
        (right - width, top),
        (left, bottom),  # below
        (left, bottom - height),
        (right - width, bottom),
    ]
    places = []
    for x, y in corners:
        x = min(max(x, 0.0), max(canvas[0] - width, 0.0))
        y = min(max(y, 0.0), max(canvas[1] - height, 0.0))
        places.append((x, y, x + width, y + height))
    return min(places, key=lambda place: sum(_overlap(place, other) for other in taken))


def _draw_labels(draw: ImageDraw.ImageDraw, labels: Sequence[_Label], canvas: Image.Image) -> None:
    """Draw labels in order of precedence; later ones are moved to free places."""
    font = drawing.font(canvas)
    pad = max(1, round(drawing.scale(canvas) / 400))
    taken: list[tuple] = []
    placed = []
    for label in labels:
        text = drawing.shortened(draw, label.text, font, canvas.width - 2 * pad)
        # "Ay" has an ascender and a descender: all labels of an image get the same height.
        _, top, _, bottom = draw.textbbox((0, 0), f"{text}Ay", font=font)
        size = (draw.textlength(text, font=font) + 2 * pad, bottom - top + 2 * pad)
        place = place_label(label.box, size, canvas.size, taken)
        taken.append(place)
        placed.append((text, label.color, place, top))
    for text, color, place, top in reversed(placed):
        draw.rectangle([place[0], place[1], place[2] - 1, place[3] - 1], fill=color)
        origin = (place[0] + pad, place[1] + pad - top)
        draw.text(origin, text, font=font, fill=drawing.text_color(color))


def _label_text(
    class_id: int | None, score: float | None, names: Mapping[int, str] | None, show_scores: bool
) -> str:
    parts = []
    if class_id is not None:
        parts.append((names or {}).get(class_id, f"class {class_id}"))
    if score is not None and show_scores:
        parts.append(f"{score:.2f}")
    return " ".join(parts)


def _chosen(
    count: int, scores: np.ndarray | None, min_score: float, max_boxes: int | None
) -> list[int]:
    """Return the rows to draw, in descending score order."""
    if scores is None:
        return list(range(count))[:max_boxes]
    order = np.argsort(-scores, kind="stable")
    return [int(row) for row in order if scores[row] >= min_score][:max_boxes]


def draw_boxes(
    image: Any,
    boxes: Any,
    classes: Any = None,
    scores: Any = None,
    *,
    names: Mapping[int, str] | None = None,
    texts: Sequence[str] | None = None,
    min_score: float = 0.0,
    max_boxes: int | None = None,
    show_scores: bool = True,
    show_labels: bool = True,
    color: drawing.Color | Sequence[drawing.Color] | None = None,
    thickness: int | None = None,
    longer_side: int = SMALLEST_LONGER_SIDE,
) -> np.ndarray:
    """Draw boxes with class names and scores.

    Args:
        image: see `drawing.to_rgb_image`.
        boxes: [N, 4] normalized to the image; they are clipped to it.
        classes: [N] ids for colors and names; None for one color and no names.
        scores: [N]; None draws all boxes in the order given.
        names: class id -> name; a class without a name shows its id.
        texts: [N] labels, instead of names and scores.
        min_score: boxes with a lower score are not drawn.
        max_boxes: maximum number of boxes, by score; None for all.
        show_scores: include scores in labels.
        show_labels: draw labels.
        color: color of all boxes, or N colors, instead of one color per class.
        thickness: width of the frames in pixels; None for one that fits the image.
        longer_side: an image with a smaller longer side is enlarged by an integer factor, so that
            labels are legible; 0 keeps the size of all images.

    Returns:
        uint8 [H, W, 3], of the size of `image` unless that was smaller than `longer_side`.

    Raises:
        ValueError: `image` is not a valid image, or arrays have different lengths.
    """
    canvas = _enlarged(drawing.to_rgb_image(image), longer_side)
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    classes = None if classes is None else np.asarray(classes).astype(np.int64).reshape(-1)
    scores = None if scores is None else np.asarray(scores, dtype=np.float64).reshape(-1)
    colors = color if color and not isinstance(color[0], int) else None
    given = (("classes", classes), ("scores", scores), ("texts", texts), ("color", colors))
    for what, values in given:
        if values is not None and len(values) != len(boxes):
            raise ValueError(f"{what}: expected {len(boxes)}, one per box, got {len(values)}")

    draw = ImageDraw.Draw(canvas)
    thickness = thickness or max(1, round(drawing.scale(canvas) / 250))
    labels = []
    for row in _chosen(len(boxes), scores, min_score, max_boxes):
        class_id = None if classes is None else int(classes[row])
        score = None if scores is None else float(scores[row])
        ymin, xmin, ymax, xmax = np.clip(boxes[row], 0.0, 1.0)
        if not (ymin <= ymax and xmin <= xmax):
            continue
        width, height = canvas.size
        corners = (
            round(xmin * (width - 1)),
            round(ymin * (height - 1)),
            round(xmax * (width - 1)),
            round(ymax * (height - 1)),
        )
        text = _label_text(class_id, score, names, show_scores) if texts is None else texts[row]
        shown: Any = color if colors is None else colors[row]
        labels.append(_Label(text, shown or drawing.class_color(class_id or 0), corners))
    for label in reversed(labels):  # the best on top
        _draw_frame(draw, label, thickness)
    if show_labels:
        _draw_labels(draw, [label for label in labels if label.text], canvas)
    return np.asarray(canvas)


def _draw_frame(draw: ImageDraw.ImageDraw, label: _Label, thickness: int) -> None:
    if thickness > 1:  # a dark outline keeps the frame visible on a background of its color
        left, top, right, bottom = label.box
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(0, 0, 0), width=1)
    draw.rectangle(label.box, outline=label.color, width=thickness)


def side_by_side(images: Sequence[Any], *, titles: Sequence[str] | None = None) -> np.ndarray:
    """Return images in a row, aligned at the top, with optional titles above.

    Args:
        images: at least one, see `drawing.to_rgb_image`; heights may differ.
        titles: one for each image.

    Returns:
        uint8 [H, W, 3].

    Raises:
        ValueError: there are no images, or the number of titles differs.
    """
    panels = [drawing.to_rgb_image(image) for image in images]
    if not panels:
        raise ValueError("images: expected at least one, got none")
    if titles is not None and len(titles) != len(panels):
        raise ValueError(f"titles: expected {len(panels)}, one per image, got {len(titles)}")
    largest = max(panels, key=drawing.scale)
    font, gap = drawing.font(largest), max(2, round(drawing.scale(largest) / 100))
    bar = 0
    if titles:
        measure = ImageDraw.Draw(largest)
        bar = int(measure.textbbox((0, 0), "Ay", font=font)[3]) + gap
    width = sum(panel.width for panel in panels) + gap * (len(panels) - 1)
    canvas = Image.new("RGB", (width, max(panel.height for panel in panels) + bar), (32, 32, 32))
    draw = ImageDraw.Draw(canvas)
    left = 0
    for i, panel in enumerate(panels):
        canvas.paste(panel, (left, bar))
        if titles:
            text = drawing.shortened(draw, titles[i], font, panel.width)
            draw.text((left + gap, gap // 2), text, font=font, fill=(255, 255, 255))
        left += panel.width + gap
    return np.asarray(canvas)


def save_image(image: Any, path: str | os.PathLike) -> None:
    """Write an image in the format of the extension (.jpg, .png ...); create its directory.

    Raises:
        ValueError: the extension is not an image format.
    """
    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise ValueError(
            f"{str(path)!r}: {path.suffix!r} is not the extension of an image format; use .jpg or "
            ".png"
        )
    converted = drawing.to_rgb_image(image)
    output_paths.make_directory(path.parent)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        converted.save(path, quality=92)
    else:
        converted.save(path)
