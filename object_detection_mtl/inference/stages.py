"""The forms of a predictor: a function of one picture, or the stages of one that takes several.

Shape letters: H W a picture, N detections.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Found:
    """The detections of one picture, best first.

    Attributes:
        boxes: [N, 4] float32, normalised to the picture.
        scores: [N] float32.
        classes: [N] int64, from 1.
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray

    def best(self, count: int) -> Found:
        """At most `count` of them."""
        return Found(self.boxes[:count], self.scores[:count], self.classes[:count])


# A picture [H, W, 3] uint8 -> what is on it.
Predictor = Callable[[np.ndarray], Found]


@dataclass(frozen=True)
class Prepared:
    """A picture as a model takes it.

    Attributes:
        value: for `StagedPredictor.detect`.
        group: pictures of equal groups can share a batch without any padding.
    """

    value: Any
    group: Hashable = None


@dataclass(frozen=True)
class StagedPredictor:
    """A predictor whose work on single pictures can be done ahead, and that may take batches.

    Attributes:
        prepare: a picture [H, W, 3] uint8 -> what is detected on. Several threads may call it.
        detect: the values of prepared pictures of one group -> what is on each.
        one_at_a_time: why it takes no batches, for whoever asks for them; empty if it does.
    """

    prepare: Callable[[np.ndarray], Prepared]
    detect: Callable[[Sequence[Any]], list[Found]]
    one_at_a_time: str = ""

    def __call__(self, picture: np.ndarray) -> Found:
        return self.detect([self.prepare(picture).value])[0]


def staged(predictor: Predictor) -> StagedPredictor:
    """The same predictor; a bare function in one stage."""
    if isinstance(predictor, StagedPredictor):
        return predictor
    return StagedPredictor(
        prepare=Prepared,
        detect=lambda pictures: [predictor(picture) for picture in pictures],
        one_at_a_time="the model takes one picture at a time",
    )


def require_batches(predictor: StagedPredictor, batch_size: int) -> None:
    """Refuses a batch size that the predictor cannot do.

    Raises:
        ValueError: it takes one picture at a time.
    """
    if batch_size > 1 and predictor.one_at_a_time:
        raise ValueError(f"batch_size is {batch_size}, but {predictor.one_at_a_time}")
