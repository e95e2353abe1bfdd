"""Draws boxes with class names and scores on pictures; needs Pillow and numpy only.

Shape letters: H W C an image, N boxes. Boxes are [ymin, xmin, ymax, xmax] normalised to the image.
Pictures are uint8 RGB arrays [H, W, 3] or Pillow images; results are arrays.
"""

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]

# Below this many pixels on the longer side, labels would cover the picture: it is enlarged first.
SMALLEST_LONGER_SIDE = 320

_SMALLEST_FONT = 12
_NUM_COLORS = 64


class _Label(NamedTuple):
    text: str
    color: Color
    box: tuple[float, float, float, float]  # left, top, right, bottom of the labelled box, pixels


def _lab(rgb: np.ndarray) -> np.ndarray:
    """sRGB [N, 3] in 0..1 to CIELAB [N, 3] (D65), where distance is what the eye sees."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


@functools.lru_cache(maxsize=1)
def _palette() -> list[Color]:
    """Colours chosen one by one, each as far as can be from all before it, none dark or grey."""
    steps = np.arange(0, 256, 15)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(-1, 3)
    lab = _lab(grid / 255.0)
    vivid = (lab[:, 0] > 45) & (np.hypot(lab[:, 1], lab[:, 2]) > 45)
    grid, lab = grid[vivid], lab[vivid]
    chosen = [int(np.argmax(lab[:, 0] + lab[:, 2]))]  # the lightest yellow
    distance = np.linalg.norm(lab - lab[chosen[0]], axis=1)
    while len(chosen) < _NUM_COLORS:
        chosen.append(int(np.argmax(distance)))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
    return [(int(r), int(g), int(b)) for r, g, b in grid[chosen]]


def class_color(class_id: int) -> Color:
    """The colour of a class, always the same; the first dozens of ids differ clearly."""
    colors = _palette()
    return colors[int(class_id) % len(colors)]


def as_picture(image: Any) -> Image.Image:
    """`image` as a Pillow RGB picture of its own (never the caller's).

    Args:
      image: Pillow image of any mode, or uint8 array [H, W], [H, W, 1] or [H, W, 3].

    Raises:
      ValueError: another dtype or shape, or no pixel.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB") if image.mode != "RGB" else image.copy()
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise ValueError(f"A picture must be uint8 (0..255), got {array.dtype}.")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.ndim == 2:
        array = np.repeat(array[:, :, np.newaxis], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ValueError(f"A picture must be [H, W, 3] or [H, W], got {list(np.shape(image))}.")
    return Image.fromarray(np.ascontiguousarray(array))


def _enlarged(picture: Image.Image, longer_side: int) -> Image.Image:
    factor = -(-longer_side // max(picture.size))
    if factor <= 1:
        return picture
    return picture.resize(
        (picture.width * factor, picture.height * factor), Image.Resampling.NEAREST
    )


def _scale(picture: Image.Image) -> float:
    return (picture.width * picture.height) ** 0.5


def _font(picture: Image.Image) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=max(_SMALLEST_FONT, round(_scale(picture) / 40)))


def _text_color(background: Color) -> Color:
    red, green, blue = background
    return (0, 0, 0) if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else (255, 255, 255)


def _shortened(draw: ImageDraw.ImageDraw, text: str, font: Any, room: float) -> str:
    """`text`, its middle cut out until it fits into `room` pixels."""
    kept = len(text)
    short = text
    while kept > 4 and draw.textlength(short, font=font) > room:
        kept -= 1
        # The end holds the score.
        short = f"{text[: kept - kept // 2]}..{text[len(text) - kept // 2 :]}"
    return short


def _overlap(a: tuple, b: tuple) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def _place(
    box: tuple, size: tuple[float, float], canvas: tuple[int, int], taken: Sequence[tuple]
) -> tuple[float, float, float, float]:
    """Where a label of `size` goes: at its box, inside the picture, off the other labels."""
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


def _draw_labels(draw: ImageDraw.ImageDraw, labels: Sequence[_Label], picture: Image.Image) -> None:
    """Labels, the most important first; later ones give way."""
    font = _font(picture)
    pad = max(1, round(_scale(picture) / 400))
    taken: list[tuple] = []
    placed = []
    for label in labels:
        text = _shortened(draw, label.text, font, picture.width - 2 * pad)
        # "Ay" has the tallest and the deepest letters: all labels of a picture get one height.
        _, top, _, bottom = draw.textbbox((0, 0), f"{text}Ay", font=font)
        size = (draw.textlength(text, font=font) + 2 * pad, bottom - top + 2 * pad)
        place = _place(label.box, size, picture.size, taken)
        taken.append(place)
        placed.append((text, label.color, place, top))
    for text, color, place, top in reversed(placed):
        draw.rectangle([place[0], place[1], place[2] - 1, place[3] - 1], fill=color)
        origin = (place[0] + pad, place[1] + pad - top)
        draw.text(origin, text, font=font, fill=_text_color(color))


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
    """Rows to draw, best score first."""
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
    min_score: float = 0.0,
    max_boxes: int | None = None,
    show_scores: bool = True,
    show_labels: bool = True,
    color: Color | None = None,
    longer_side: int = SMALLEST_LONGER_SIDE,
) -> np.ndarray:
    """Draws boxes, their class names and scores.

    Args:
      image: see `as_picture`.
      boxes: [N, 4] normalised to the image; parts outside are cut off.
      classes: [N] ids for colours and names, or None: one colour, no names.
      scores: [N], or None: all boxes are drawn, in the order given.
      names: class id -> name; a class without one shows its id.
      min_score: boxes below are not drawn.
      max_boxes: at most so many, the best ones; None for all.
      show_scores, show_labels: whether labels hold the score, and whether there are any.
      color: of all boxes, instead of one for each class.
      longer_side: a picture smaller than this is enlarged by a whole factor, for its labels to be
        legible and leave something to see; 0 keeps every size.

    Returns:
      uint8 [H, W, 3], of the size of `image` unless that was smaller than `longer_side`.

    Raises:
      ValueError: not a picture, or arrays of different lengths.
    """
    picture = _enlarged(as_picture(image), longer_side)
    boxes = np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    classes = None if classes is None else np.asarray(classes).astype(np.int64).reshape(-1)
    scores = None if scores is None else np.asarray(scores, dtype=np.float64).reshape(-1)
    for what, values in (("classes", classes), ("scores", scores)):
        if values is not None and len(values) != len(boxes):
            raise ValueError(f"{len(boxes)} boxes but {len(values)} {what}.")

    draw = ImageDraw.Draw(picture)
    thickness = max(1, round(_scale(picture) / 250))
    labels = []
    for row in _chosen(len(boxes), scores, min_score, max_boxes):
        class_id = None if classes is None else int(classes[row])
        score = None if scores is None else float(scores[row])
        ymin, xmin, ymax, xmax = np.clip(boxes[row], 0.0, 1.0)
        if not (ymin <= ymax and xmin <= xmax):
            continue
        width, height = picture.size
        corners = (
            round(xmin * (width - 1)),
            round(ymin * (height - 1)),
            round(xmax * (width - 1)),
            round(ymax * (height - 1)),
        )
        text = _label_text(class_id, score, names, show_scores)
        labels.append(_Label(text, color or class_color(class_id or 0), corners))
    for label in reversed(labels):  # the best on top
        _draw_frame(draw, label, thickness)
    if show_labels:
        _draw_labels(draw, [label for label in labels if label.text], picture)
    return np.asarray(picture)


def _draw_frame(draw: ImageDraw.ImageDraw, label: _Label, thickness: int) -> None:
    if thickness > 1:  # a dark rim keeps the frame visible where the picture has its colour
        left, top, right, bottom = label.box
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=(0, 0, 0), width=1)
    draw.rectangle(label.box, outline=label.color, width=thickness)


def side_by_side(images: Sequence[Any], *, titles: Sequence[str] | None = None) -> np.ndarray:
    """Pictures in a row, tops aligned, a thin gap between them, with a bar of titles if given.

    Args:
      images: at least one, see `as_picture`; heights may differ.
      titles: one for each picture.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: no picture, or not one title for each.
    """
    pictures = [as_picture(image) for image in images]
    if not pictures:
        raise ValueError("side_by_side needs at least one picture.")
    if titles is not None and len(titles) != len(pictures):
        raise ValueError(f"{len(pictures)} pictures but {len(titles)} titles.")
    largest = max(pictures, key=_scale)
    font, gap = _font(largest), max(2, round(_scale(largest) / 100))
    bar = 0
    if titles:
        measure = ImageDraw.Draw(largest)
        bar = int(measure.textbbox((0, 0), "Ay", font=font)[3]) + gap
    width = sum(picture.width for picture in pictures) + gap * (len(pictures) - 1)
    canvas = Image.new("RGB", (width, max(p.height for p in pictures) + bar), (32, 32, 32))
    draw = ImageDraw.Draw(canvas)
    left = 0
    for i, picture in enumerate(pictures):
        canvas.paste(picture, (left, bar))
        if titles:
            text = _shortened(draw, titles[i], font, picture.width)
            draw.text((left + gap, gap // 2), text, font=font, fill=(255, 255, 255))
        left += picture.width + gap
    return np.asarray(canvas)


def save(image: Any, path: str | os.PathLike) -> None:
    """Writes a picture; the name's ending says the format (.jpg, .png ...); folders are made.

    Raises:
      ValueError: an ending that is no picture format.
    """
    path = Path(path)
    if path.suffix.lower() not in Image.registered_extensions():
        raise ValueError(
            f"{str(path)!r}: the ending {path.suffix!r} is no picture format; use .jpg or .png."
        )
    picture = as_picture(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() in (".jpg", ".jpeg"):
        picture.save(path, quality=92)
    else:
        picture.save(path)
