"""Labels of the auxiliary tasks for pictures of the input pipeline.

Shape letters: N objects of one picture, W windows, K classes without background,
S side of the mask, H W the picture.

On the fly, they are made of the boxes that the model will see, after all augmentation, with new
windows in every epoch; so any augmentation may move boxes, and any record will do. All objects
count, crowds and difficult ones too, as in the authors' converters, unless `LabelOptions` says
otherwise. Windows are at least 32 pixels high and wide, in pixels of the picture before it is
resized, where the authors count them too.
"""

from __future__ import annotations

from dataclasses import dataclass

import tensorflow as tf

from object_detection_mtl.data.augmentation import IMAGE, Example
from object_detection_mtl.fields import Groundtruth
from object_detection_mtl.mtl import labels


@dataclass(frozen=True)
class LabelOptions:
    """Which labels a run needs and how they are made.

    Attributes:
        windows, closeness, foreground: the tasks that are trained.
        from_records: read the labels that the records hold instead of making them.
        num_windows: W.
        mask_size: S.
        transform: "SQRT" or "AREA", see `mtl.labels.window_labels`.
        from_crowd, from_difficult: whether such objects make labels.
    """

    windows: bool = True
    closeness: bool = True
    foreground: bool = True
    from_records: bool = False
    num_windows: int = 64
    mask_size: int = 64
    transform: str = "SQRT"
    from_crowd: bool = True
    from_difficult: bool = True


def make_labels(
    example: Example, options: LabelOptions, num_classes: int, seed: tf.Tensor
) -> Example:
    """The labels of a decoded and augmented example: `labels_of` its `sources`."""
    return labels_of(sources(example, options, seed), options, num_classes)


def sources(example: Example, options: LabelOptions, seed: tf.Tensor) -> Example:
    """What the labels of an example are made of.

    Args:
      example: decoded and augmented, with "image" [H, W, 3], boxes [N, 4], classes [N] and flags
        [N].
      options: which labels.
      seed: int32 [2] of the windows.

    Returns:
      "boxes" [N, 4], "classes" [N] int32, 0 for what makes no labels, "image_size" [2] int32,
      "seed" [2].
    """
    classes = example[Groundtruth.classes]
    if not options.from_crowd:
        classes = tf.where(example[Groundtruth.is_crowd], 0, classes)
    if not options.from_difficult:
        classes = tf.where(example[Groundtruth.difficult], 0, classes)
    return {
        "boxes": example[Groundtruth.boxes],
        "classes": classes,
        "image_size": tf.shape(example[IMAGE])[:2],
        "seed": seed,
    }


def labels_of(source: Example, options: LabelOptions, num_classes: int) -> Example:
    """The labels of a picture, or of a padded batch of pictures, which get the same.

    Args:
      source: of `sources`; in a batch, each has one more dimension in front, and the boxes are
        padded with rows of class 0.
      options: which labels.
      num_classes: K.

    Returns:
      Of the keys of fields.Groundtruth: window_boxes [..., W, 4], window_classes [..., W, K+1] and
      num_windows [...], which is 1 for a picture without object; closeness [..., N, K+1]; edgemask
      [..., 2, S, S].
    """
    boxes, classes, image_size = source["boxes"], source["classes"], source["image_size"]
    valid = classes > 0
    made: Example = {}
    if options.windows:
        windows = labels.sample_windows(
            boxes, image_size, options.num_windows, seed=source["seed"], valid=valid
        )
        made[Groundtruth.window_boxes] = windows
        made[Groundtruth.window_classes] = labels.window_labels(
            boxes, classes, windows, num_classes, transform=options.transform
        )
        made[Groundtruth.num_windows] = labels.count_windows(
            boxes, options.num_windows, valid=valid
        )
    if options.closeness:
        made[Groundtruth.closeness] = labels.closeness_labels(
            boxes, classes, image_size, num_classes
        )
    if options.foreground:
        made[Groundtruth.edgemask] = labels.foreground_mask(boxes, options.mask_size, valid=valid)
    return made


def for_rows(made: Example, example: Example) -> Example:
    """The labels of a picture of a padded batch, for as many boxes as its example has rows.

    Both have at least one, see `label_chunks` and `pipeline`.
    """
    if Groundtruth.closeness not in made:
        return made
    rows = tf.shape(example[Groundtruth.boxes])[0]
    return made | {Groundtruth.closeness: made[Groundtruth.closeness][:rows]}
