"""Comparison of the detections of two forms of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

PHOTOGRAPHS = sorted((Path(__file__).parents[1] / "golden" / "images").glob("*.jpg"))
# Scores that differ by less may be in another order.
TIE = 2e-5


def photographs() -> np.ndarray:
    """Return two photographs [2, 480, 640, 3] uint8."""
    return np.stack([tf.io.decode_jpeg(path.read_bytes()).numpy() for path in PHOTOGRAPHS])


def check_same_detections(
    actual: Mapping[str, Any], expected: Mapping[str, Any], tolerance: float = 1e-4
) -> None:
    """Check that boxes and scores are within `tolerance`, classes and order equal except ties."""
    actual = {name: np.asarray(value) for name, value in actual.items()}
    expected = {name: np.asarray(value) for name, value in expected.items()}
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        assert (actual[name].shape, actual[name].dtype) == (value.shape, np.float32), name
    for name in ("num_detections", "raw_detection_scores", "raw_detection_boxes"):
        np.testing.assert_allclose(actual[name], expected[name], atol=tolerance, err_msg=name)
    assert expected["num_detections"].min() > 1
    for image in range(len(expected["num_detections"])):
        order = _same_order(actual, expected, image)
        for name in ("detection_boxes", "detection_scores", "detection_multiclass_scores"):
            np.testing.assert_allclose(
                actual[name][image][order], expected[name][image], atol=tolerance, err_msg=name
            )
        for name in ("detection_classes", "detection_anchor_indices"):
            np.testing.assert_array_equal(actual[name][image][order], expected[name][image], name)


def _same_order(actual: Mapping[str, Any], expected: Mapping[str, Any], image: int) -> np.ndarray:
    """Return the rows of `actual` in the order of `expected`; only rows of a tie are reordered."""
    scores = expected["detection_scores"][image]
    number = int(expected["num_detections"][image])

    def keys(outputs):
        rows = zip(
            outputs["detection_anchor_indices"][image],
            outputs["detection_classes"][image],
            strict=True,
        )
        return [tuple(row) for row in rows][:number]

    places = {key: place for place, key in enumerate(keys(actual))}
    order = np.arange(len(scores))
    order[:number] = [places[key] for key in keys(expected)]
    moved = np.flatnonzero(order != np.arange(len(scores)))
    assert (np.abs(scores[order[moved]] - scores[moved]) < TIE).all()
    return order
