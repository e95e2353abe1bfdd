"""Images and limits by which an exported model is quantized to int8.

Shape letters: H W an image.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from object_detection_mtl import cpu_features
from object_detection_mtl.export.runtimes.runtime_choice import ModelFunction

DEFAULT_IMAGES = 300


@dataclass(frozen=True)
class AccuracyControl:
    """Limit of the loss of accuracy; layers return to float32 until it holds.

    Attributes:
        max_drop: Maximum drop of the score.
        examples: Examples of the validation set; iterated over several times.
        score: A model and some of the examples -> score, the higher the better.
    """

    max_drop: float
    examples: Iterable[Any]
    score: Callable[[ModelFunction, Iterable[Any]], float]


@dataclass(frozen=True)
class Calibration:
    """Calibration of a model: the ranges of its feature maps are measured on these images.

    Attributes:
        images: Images [H, W, 3] uint8; iterated over several times.
        source: Where the images are from, for messages.
        max_images: Maximum number of images.
        accuracy: Limit of the loss of accuracy; None for no limit.
    """

    images: Iterable[np.ndarray]
    source: str
    max_images: int = DEFAULT_IMAGES
    accuracy: AccuracyControl | None = None


@dataclass(frozen=True)
class QuantizationSummary:
    """Result of a quantization.

    Attributes:
        images: Number of images of the calibration.
        int8_layers: Number of convolutions and matrix products in int8.
        float32_layers: Number of those in float32.
        seconds: Wall-clock time.
        scores: Scores on the validation set before and after; None without a limit of their
            difference.
        max_drop: The limit; None if there is none.
    """

    images: int
    int8_layers: int
    float32_layers: int
    seconds: float
    scores: tuple[float, float] | None = None
    max_drop: float | None = None

    def __str__(self) -> str:
        text = (
            f"int8: calibrated on {self.images} images in {self.seconds:.0f} s; "
            f"{self.int8_layers} layers are int8, {self.float32_layers} float32"
        )
        if self.scores is None or self.max_drop is None:
            return text
        before, after = self.scores
        text += (
            f"; mAP@0.5 is {before:.4f} in float32 and {after:.4f} in int8, at most "
            f"{100 * self.max_drop:g} points may be lost"
        )
        if before - after > self.max_drop:
            text += "; more is lost, and returning further layers to float32 does not help"
        return text


class CountedImages:
    """The images of a calibration, which may be iterated over several times, and their number."""

    def __init__(self, calibration: Calibration) -> None:
        """Check that there is an image.

        Raises:
            ValueError: No image is readable.
        """
        self._calibration = calibration
        self.number = 0
        if next(iter(calibration.images), None) is None:
            raise ValueError(
                f"calibration {calibration.source!r} has no readable image; give records or a "
                "directory of images like those that the detector will see"
            )

    def __iter__(self) -> Iterator[np.ndarray]:
        """Yield images [H, W, 3] uint8, at most as many as are wanted."""
        limit = self._calibration.max_images
        images = itertools.islice(self._calibration.images, limit)
        for number, image in enumerate(images, 1):
            self.number = max(self.number, number)
            yield image


def describe_cpu() -> str:
    """Return what to expect of int8 if this CPU has no instructions for it; else an empty text."""
    if cpu_features.has_int8_products():
        return ""
    return (
        "this CPU has no VNNI (lscpu lists neither avx512_vnni nor avx_vnni): int8 gains less on "
        "it than on CPUs that have; compare the times of both before you use it here"
    )
