"""Recognition of boxes that are not ymin, xmin, ymax, xmax in fractions of the image.

Shape letters: N boxes of all images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.data.example_decoder import LARGEST_COORDINATE, is_usable

# Fewer unusable boxes than these are single mistakes, which are counted during the run.
_MANY = 10
_SHARE = 0.2
_HALF = 0.5
# Part of the boxes that a form has to explain.
_FITS = 0.9
# Boxes that reach outside the image by more than this, of which this part shows a wrong side.
_OUTSIDE = 0.01
_OUTSIDE_SHARE = 0.05
_FIX = "Boxes in records are fractions of the image, 0 to 1: "


@dataclass(frozen=True)
class _Form:
    """A form that boxes may have.

    Attributes:
        what: what they look like; `{swapped}` is the number with a minimum above the maximum.
        fix: what to do.
        convert: boxes [N, 4] of this form -> as they should be.
    """

    what: str
    fix: str
    convert: Callable[[np.ndarray], np.ndarray]


def _from_center(boxes: np.ndarray) -> np.ndarray:
    return np.concatenate(
        [boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], axis=1
    )


_FORMS = (
    _Form(
        "minimum and maximum look swapped",
        "exchange ymin, xmin and ymax, xmax",
        lambda boxes: boxes[:, [2, 3, 0, 1]],
    ),
    _Form(
        "ymax, xmax look like height and width of the box",
        "add ymin and xmin to them",
        lambda boxes: np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1),
    ),
    _Form(
        "look like the center and the size of the box",
        "subtract and add half of the size",
        _from_center,
    ),
    _Form(
        "ymin is greater than ymax in {swapped} of them",
        "exchange ymin and ymax",
        lambda boxes: boxes[:, [2, 1, 0, 3]],
    ),
    _Form(
        "xmin is greater than xmax in {swapped} of them",
        "exchange xmin and xmax",
        lambda boxes: boxes[:, [0, 3, 2, 1]],
    ),
    _Form(
        "look like the order ymin, ymax, xmin, xmax (or xmin, xmax, ymin, ymax)",
        "write them in the order ymin, xmin, ymax, xmax",
        lambda boxes: boxes[:, [0, 2, 1, 3]],
    ),
    _Form("are negative", "change their sign", lambda boxes: -boxes[:, [0, 1, 2, 3]]),
    _Form("are negative", "change their sign", lambda boxes: -boxes[:, [2, 3, 0, 1]]),
)
# Name of a wrong division -> factors of y and x that undo it, from height and width.
_SIDES: tuple[tuple[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]], ...] = (
    (
        "y divided by the width and x by the height",
        lambda size: (size[:, 1] / size[:, 0], size[:, 0] / size[:, 1]),
    ),
    ("x divided by the height", lambda size: (np.ones(len(size)), size[:, 0] / size[:, 1])),
    ("y divided by the width", lambda size: (size[:, 1] / size[:, 0], np.ones(len(size)))),
)


def describe_form(boxes: Sequence[np.ndarray], sizes: Sequence[np.ndarray], scope: str) -> str:
    """Return what is wrong with boxes as a whole, and the fix; "" if most are usable.

    Args:
        boxes: of each image, [M, 4].
        sizes: height and width of each image, [2]; 0 if unknown.
        scope: the examined records as text.
    """
    together = np.concatenate([*boxes, np.zeros([0, 4])])
    unusable = int((~is_usable(together)).sum())
    share = unusable / max(1, len(together))
    is_mistake = share < _SHARE or (share < _HALF and unusable < _MANY)
    side = _wrong_side(together, _repeated(boxes, sizes))
    if is_mistake and not side:
        return ""
    finite = np.nan_to_num(together, nan=0.0, posinf=0.0, neginf=0.0)
    extreme = f"they lie in {finite.min():g} to {finite.max():g}"
    if side:
        outside = int(np.any(together > 1.0 + _OUTSIDE, axis=1).sum())
        return (
            f"{outside} of {len(together)} boxes in {scope} reach outside the image: {extreme} and "
            f"look like {side}. {_FIX}divide y by the height and x by the width"
        )
    start = f"{unusable} of {len(together)} boxes in {scope} cannot be used: {extreme}"
    if np.mean(np.any(finite > LARGEST_COORDINATE, axis=1)) >= _SHARE:
        return f"{start}{_scale(boxes, sizes)}"
    return f"{start} and {_order(finite)}"


def _scale(boxes: Sequence[np.ndarray], sizes: Sequence[np.ndarray]) -> str:
    """Return which unit coordinates above 1 have: pixels, percent or thousandths."""
    largest = max(float(one.max()) for one in boxes if one.size)
    # Largest coordinate as a fraction of the image, per image with a known size.
    ratios = [
        float((one[:, 2:] / size).max())
        for one, size in zip(boxes, sizes, strict=True)
        if one.size and size.all()
    ]
    in_image = max(ratios, default=0.0)
    for limit, name in ((100.0, "percent"), (1000.0, "thousandths of the image")):
        fits = largest <= 1.005 * limit
        if fits and ratios and (in_image > 1.05 or largest / limit > in_image):
            return f" and look like {name}. {_FIX}divide them by {limit:g}"
    return f" and look like pixels. {_FIX}divide them by the height and width of the image"


def _order(boxes: np.ndarray) -> str:
    """Return which form unusable boxes [N, 4] within 0..1 seem to have, and the fix."""
    is_centered = boxes.min() < -_HALF and boxes.max() > _HALF
    if is_centered and _share_inside((boxes + 1.0) / 2.0) >= _FITS:
        return f"look like -1 to 1. {_FIX}add 1 and divide them by 2"
    is_empty = np.any(boxes[:, :2] == boxes[:, 2:], axis=1)
    best = [form for form in _FORMS if _share_inside(form.convert(boxes)) >= _FITS]
    if not best or np.mean(is_empty) >= _HALF:
        return f"have no area inside the image. {_FIX}convert the dataset again"
    swapped = int(np.any(boxes[:, :2] > boxes[:, 2:], axis=1).sum())
    what = ", or ".join(dict.fromkeys(form.what.format(swapped=swapped) for form in best))
    fixes = ", or ".join(dict.fromkeys(form.fix for form in best))
    return f"{what}. {_FIX}{fixes}"


def _share_inside(boxes: np.ndarray) -> float:
    """Return the share of the boxes that have an area and lie in the image."""
    inside = np.all((boxes >= -_OUTSIDE) & (boxes <= 1.0 + _OUTSIDE), axis=1)
    return float(np.mean(inside & is_usable(boxes)))


def _repeated(boxes: Sequence[np.ndarray], sizes: Sequence[np.ndarray]) -> np.ndarray:
    """Return the size of the image of each box, [N, 2]."""
    numbers = [len(one) for one in boxes]
    return np.repeat(np.reshape(sizes, [-1, 2]), numbers, axis=0)


def _wrong_side(boxes: np.ndarray, sizes: np.ndarray) -> str:
    """Return by which side of the image coordinates seem to be divided; "" if by the right one.

    Such boxes reach outside on one axis only, up to the ratio of the sides, and never below 0.
    """
    if len(boxes) < _MANY or not sizes.all():
        return ""
    outside = np.any(boxes > 1.0 + _OUTSIDE, axis=1)
    if np.mean(outside) < _OUTSIDE_SHARE or not np.all(boxes >= -_OUTSIDE):
        return ""
    for name, factors in _SIDES:
        y, x = factors(sizes)
        corrected = boxes * np.stack([y, x, y, x], axis=1)
        reaches_border = corrected[outside].max() > 1.0 - 5 * _OUTSIDE
        if reaches_border and _share_inside(corrected) >= 1.0 - _OUTSIDE:
            return name
    return ""
