"""AutoAugment policies for detection: the operations, and a random row of them for each image.

Shape letters: N objects of one image, H W the image.

Of a policy (policy_rows.py) one row is drawn for an image, and its operations are applied in order.
The operations on colors are those of `official.vision.ops.augment` (tf-models-official). Its
geometry is not used: it fills uncovered pixels with a mirror image of the objects, where the OD API
fills them with gray. Randomness comes from the example's seed alone.
"""

from __future__ import annotations

import functools
import importlib
import math
from collections.abc import Callable, Sequence
from types import ModuleType

import tensorflow as tf

from object_detection_mtl.data.augmentation import (
    IMAGE,
    Augmentation,
    Example,
    chance,
    keep_objects,
    split_seed,
    whole_number,
)
from object_detection_mtl.data.policy_rows import POLICIES
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.ops import boxes as box_ops

# (image uint8 [H, W, 3], boxes [N, 4], seed [2]) -> image and boxes.
Operation = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# (image, seed) -> matrix [2, 2] and shift [2] that move a point (x, y) in pixels.
Warp = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

MAX_LEVEL = 10
GRAY = 128  # of uncovered pixels
# Values of the highest level, in pixels; of an angle, in degrees.
_TRANSLATION, _TRANSLATION_IN_BOX, _ROTATION, _SHEAR = 250.0, 120.0, 30.0, 0.3
_CUTOUT, _CUTOUT_IN_BOX, _CUTOUT_FRACTION = 100, 50, 0.75
# Boxes are often close to each other: an operation inside of boxes is drawn less often.
_IN_BOX_SHARE = 1 / 3


def autoaugment_image(policy_name: str = "v0") -> Augmentation:
    """Return an augmentation that applies a random row of an AutoAugment policy.

    An object that leaves the image is removed (the OD API keeps a box on nothing at the border).

    Args:
        policy_name: of POLICIES; v0 is the policy of the paper's results.

    Returns:
        The augmentation.

    Raises:
        ValueError: there is no such policy.
    """
    if policy_name not in POLICIES:
        raise ValueError(
            f"autoaugment_image: policy_name is {policy_name!r}, expected one of "
            f"{', '.join(sorted(POLICIES))}"
        )
    rows = [
        [make_operation(name, probability, level) for name, probability, level in row]
        for row in POLICIES[policy_name]
    ]

    def apply_row(
        row: Sequence[Operation], image: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        shapes = image.shape, boxes.shape
        for operation in row:
            seed, own_seed = split_seed(seed)
            image, boxes = operation(image, boxes, own_seed)
        return tf.ensure_shape(image, shapes[0]), tf.ensure_shape(boxes, shapes[1])

    def augment(example: Example, seed: tf.Tensor) -> Example:
        row_seed, seed = split_seed(seed)
        image, boxes = example[IMAGE], example[Groundtruth.boxes]
        branches = [lambda row=row: apply_row(row, image, boxes, seed) for row in rows]
        drawn = whole_number(row_seed, 0, len(rows) - 1)
        image, moved = tf.switch_case(drawn, branches)
        left = (box_ops.area(moved) <= 0.0) & (box_ops.area(boxes) > 0.0)
        return keep_objects({**example, IMAGE: image, Groundtruth.boxes: moved}, ~left)

    return augment


def make_operation(name: str, probability: float, level: int) -> Operation:
    """Return an operation of the policies.

    Args:
        name: as in POLICIES. `_BBox` moves the boxes along; `_Only_BBoxes` changes the pixels
            inside of boxes.
        probability: of the operation, in 0..1; `_Only_BBoxes` draws for each box, with a third of
            this probability.
        level: strength, 0 to MAX_LEVEL.
    """
    share = level / MAX_LEVEL
    if name.endswith("_Only_BBoxes"):
        inside = _changes_inside_of_boxes(share)[name.removesuffix("_Only_BBoxes")]
        return inside_of_boxes(inside, probability * _IN_BOX_SHARE)
    pixels = _changes_of_pixels(share).get(name)
    change = _operations_with_boxes(share)[name] if pixels is None else _keep_boxes(pixels)

    def apply(image: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        coin, own_seed = split_seed(seed)
        return tf.cond(
            chance(coin, probability),
            lambda: change(image, boxes, own_seed),
            lambda: (image, boxes),
        )

    return apply


def _keep_boxes(change: Callable[[tf.Tensor], tf.Tensor]) -> Operation:
    """Return the operation of a change of pixels that moves nothing."""
    return lambda image, boxes, seed: (change(image), boxes)


def _changes_of_pixels(share: float) -> dict[str, Callable[[tf.Tensor], tf.Tensor]]:
    """Return the changes of colors, at a share of the highest level."""
    augment = _operations_module()
    factor = share * 1.8 + 0.1
    return {
        "AutoContrast": augment.autocontrast,
        "Equalize": augment.equalize,
        "Posterize": lambda image: augment.posterize(image, int(share * 4)),
        "Solarize": lambda image: augment.solarize(image, int(share * 256)),
        "SolarizeAdd": lambda image: augment.solarize_add(image, int(share * 110)),
        "Color": lambda image: augment.color(image, factor),
        "Contrast": lambda image: augment.contrast(image, factor),
        "Brightness": lambda image: augment.brightness(image, factor),
        "Sharpness": lambda image: augment.sharpness(image, factor),
    }


def _operations_with_boxes(share: float) -> dict[str, Operation]:
    """Return the operations that move the boxes along or read them."""
    warps = _warps(share, _TRANSLATION)

    def moving(warp: Warp) -> Operation:
        def move(image, boxes, seed):
            matrix, shift = warp(image, seed)
            return _warp_image(image, matrix, shift), _warp_boxes(boxes, image, matrix, shift)

        return move

    return {
        **{f"{name}_BBox": moving(warp) for name, warp in warps.items()},
        "Cutout": lambda image, boxes, seed: (_erase(image, int(share * _CUTOUT), seed), boxes),
        "BBox_Cutout": lambda image, boxes, seed: (
            _erase_in_a_box(image, boxes, share * _CUTOUT_FRACTION, seed),
            boxes,
        ),
    }


def _changes_inside_of_boxes(
    share: float,
) -> dict[str, Callable[[tf.Tensor, tf.Tensor], tf.Tensor]]:
    """Return functions from the pixels of a box and a seed to other pixels."""
    warps = _warps(share, _TRANSLATION_IN_BOX)

    def warping(warp: Warp) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        return lambda image, seed: _warp_image(image, *warp(image, seed))

    return {
        **{name: warping(warp) for name, warp in warps.items()},
        "Flip": lambda image, seed: tf.reverse(image, axis=[1]),
        "Equalize": lambda image, seed: _operations_module().equalize(image),
        "Cutout": lambda image, seed: _erase(image, int(share * _CUTOUT_IN_BOX), seed),
    }


def _warps(share: float, distance: float) -> dict[str, Warp]:
    """Return the affine transformations, each in either direction, at a share of the level."""

    def rotate(image: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        angle = _either_sign(seed, share * math.radians(_ROTATION))
        cos, sin = tf.cos(angle), tf.sin(angle)
        matrix = tf.stack([tf.stack([cos, -sin]), tf.stack([sin, cos])])
        center = tf.reverse(tf.cast(tf.shape(image)[:2], tf.float32), [0]) / 2.0
        return matrix, center - tf.linalg.matvec(matrix, center)

    def shear(axis: int, image: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        factor = _either_sign(seed, share * _SHEAR)
        place = tf.one_hot([1 - axis], 2) * tf.one_hot([axis], 2, axis=0)
        return tf.eye(2) + factor * place, tf.zeros([2])

    def translate(axis: int, image: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return tf.eye(2), _either_sign(seed, share * distance) * tf.one_hot(axis, 2)

    return {
        "Rotate": rotate,
        "ShearX": functools.partial(shear, 0),
        "ShearY": functools.partial(shear, 1),
        "TranslateX": functools.partial(translate, 0),
        "TranslateY": functools.partial(translate, 1),
    }


def _warp_image(image: tf.Tensor, matrix: tf.Tensor, shift: tf.Tensor) -> tf.Tensor:
    """Return the image after (x, y) -> matrix (x, y) + shift in pixels; uncovered pixels are gray.

    Args:
        image: uint8 [H, W, 3].
        matrix: float32 [2, 2].
        shift: float32 [2].
    """
    # The operation asks for each pixel of the result where it was, between centers of pixels.
    inverse = tf.linalg.inv(matrix)
    origin = tf.linalg.matvec(inverse, 0.5 - shift) - 0.5
    rows = tf.concat([inverse, origin[:, tf.newaxis]], axis=1)
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=tf.concat([tf.reshape(rows, [1, 6]), tf.zeros([1, 2])], axis=1),
        output_shape=tf.shape(image)[:2],
        interpolation="NEAREST",
        fill_mode="CONSTANT",
        fill_value=float(GRAY),
    )
    return tf.ensure_shape(warped[0], image.shape)


def _warp_boxes(
    boxes: tf.Tensor, image: tf.Tensor, matrix: tf.Tensor, shift: tf.Tensor
) -> tf.Tensor:
    """Return the boxes [N, 4] around the moved ones, clipped to the image."""
    sides = tf.cast(tf.shape(image)[:2], tf.float32)
    top, left, bottom, right = tf.unstack(boxes * tf.tile(sides, [2]), axis=1)
    corners = tf.stack(
        [tf.stack([x, y], axis=1) for x in (left, right) for y in (top, bottom)], axis=1
    )
    moved = tf.reverse(tf.einsum("ij,ncj->nci", matrix, corners) + shift, [2]) / sides
    enclosing = tf.concat([tf.reduce_min(moved, axis=1), tf.reduce_max(moved, axis=1)], axis=1)
    return tf.clip_by_value(enclosing, 0.0, 1.0)


def _operations_module() -> ModuleType:
    """Return `official.vision.ops.augment`, which takes a second to import."""
    return importlib.import_module("official.vision.ops.augment")


def inside_of_boxes(
    change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor], probability: float
) -> Operation:
    """Return an operation that changes the pixels of each box with a probability."""

    def change_box(image: tf.Tensor, box: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        top, left, bottom, right = tf.unstack(_pixels_of(box, image))
        changed = change(image[top:bottom, left:right], seed)
        middle = tf.concat([image[top:bottom, :left], changed, image[top:bottom, right:]], axis=1)
        return tf.concat([image[:top], middle, image[bottom:]], axis=0)

    def apply(image: tf.Tensor, boxes: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def step(number, image):
            coin, own_seed = split_seed(
                tf.random.experimental.stateless_fold_in(seed, number, alg="philox")
            )
            changed = tf.cond(
                chance(coin, probability),
                lambda: change_box(image, boxes[number], own_seed),
                lambda: image,
            )
            return number + 1, tf.ensure_shape(changed, shape)

        shape = image.shape
        _, image = tf.while_loop(
            lambda number, _: number < tf.shape(boxes)[0], step, (tf.constant(0), image)
        )
        return image, boxes

    return apply


def _erase(image: tf.Tensor, half: int, seed: tf.Tensor) -> tf.Tensor:
    """Return the image with a gray square of 2 half pixels around a random pixel."""
    sides = tf.shape(image)[:2]
    center = whole_number(seed, tf.zeros_like(sides), sides - 1)
    return _fill(image, center - half, center + half)


def _erase_in_a_box(
    image: tf.Tensor, boxes: tf.Tensor, fraction: float, seed: tf.Tensor
) -> tf.Tensor:
    """Return the image with a gray rectangle around a random pixel of a random box.

    Args:
        image: uint8 [H, W, 3].
        boxes: [N, 4], normalized; without any the image stays as it is.
        fraction: of the rectangle's sides to the box's.
        seed: int32 [2].
    """

    def erase() -> tf.Tensor:
        box_seed, center_seed = split_seed(seed)
        drawn = whole_number(box_seed, 0, tf.shape(boxes)[0] - 1)
        start, end = tf.split(_pixels_of(boxes[drawn], image), 2)
        half = tf.cast(fraction * tf.cast(end - start, tf.float32) / 2.0, tf.int32)
        center = whole_number(center_seed, start, end - 1)
        return _fill(image, center - half, center + half)

    return tf.cond(tf.shape(boxes)[0] > 0, erase, lambda: image)


def _fill(image: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> tf.Tensor:
    """Return the image with gray pixels from `start` int32 [2] to before `end`."""
    rows, columns = (
        (tf.range(tf.shape(image)[axis]) >= start[axis])
        & (tf.range(tf.shape(image)[axis]) < end[axis])
        for axis in (0, 1)
    )
    covered = rows[:, tf.newaxis, tf.newaxis] & columns[tf.newaxis, :, tf.newaxis]
    return tf.where(covered, tf.cast(GRAY, image.dtype), image)


def _pixels_of(box: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Return top, left, bottom and right of the pixels of a box, at least one, int32 [4]."""
    sides = tf.tile(tf.shape(image)[:2], [2])
    pixels = tf.cast(tf.cast(sides, tf.float32) * box, tf.int32)
    start = tf.clip_by_value(pixels[:2], 0, sides[:2] - 1)
    end = tf.clip_by_value(pixels[2:] + 1, start + 1, sides[2:])
    return tf.concat([start, end], axis=0)


def _either_sign(seed: tf.Tensor, value: float) -> tf.Tensor:
    """Return the value or its negative, float32, each with probability 1/2."""
    return tf.where(chance(seed, 0.5), value, -value)
