"""Which pictures become equally large in a model, so that a batch of them needs no padding.

Padding is not harmless: the zeros around a smaller picture are normalised, filtered and biased like
its pixels, and its border features are others than those beside a convolution's own zeros. So only
pictures of one size after resizing share a batch; then each gets what it would get alone.

Shape letters: H W a picture, h w the resized one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Hashable
from typing import Any

from object_detection_mtl.config import pipeline
from object_detection_mtl.data.image_resizing import size_within
from object_detection_mtl.export import saved_model

# (H, W) of a picture -> what equals that of all pictures of the same size after resizing.
Size = Callable[[tuple[int, int]], Hashable]


def of_saved_model(directory: str) -> Size:
    """For a SavedModel that resizes each picture of a batch by itself.

    One of this package says in its metadata how it resizes. Of any other it is not known whether
    pictures of different sizes may share a batch at all: only equal ones do.

    Args:
        directory: the one with saved_model.pb.
    """
    path = os.path.join(directory, saved_model.METADATA)
    if not os.path.isfile(path):
        return _as_it_is
    try:
        with open(path, encoding="utf-8") as file:
            config = pipeline.parse(json.load(file)["pipeline_config"])
    except (ValueError, KeyError, TypeError):  # such as the metadata of another version
        return _as_it_is
    return of_resizer(config.model.faster_rcnn.image_resizer)


def of_resizer(resizer: Any) -> Size:
    """For an ImageResizer message of a resolved config."""
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        return lambda size: ()
    if kind == "keep_aspect_ratio_resizer":
        keep = resizer.keep_aspect_ratio_resizer
        if keep.pad_to_max_dimension:
            return lambda size: ()
        return lambda size: size_within(tuple(size), keep.min_dimension, keep.max_dimension)
    return _as_it_is


def _as_it_is(size: tuple[int, int]) -> Hashable:
    return tuple(size)
