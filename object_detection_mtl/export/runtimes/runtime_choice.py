"""Choice of the fastest engine whose detections equal TensorFlow's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from object_detection_mtl.export.runtimes.runtime_models import TENSORFLOW, Arrays
from object_detection_mtl.fields import Detections

AUTO = "auto"
# Tolerance of scores, and of boxes as fractions of the image.
TOLERANCE = 1e-3
_ROUNDS = 3

# Inputs by name -> outputs by name.
ModelFunction = Callable[[Mapping[str, np.ndarray]], Arrays]


@dataclass
class EngineChoice:
    """The chosen engine and the reasons.

    Attributes:
        engine: Name of the engine.
        seconds: Engine -> its fastest call.
        rejected: Engine -> why it could not be chosen.
    """

    engine: str
    seconds: dict[str, float] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        times = sorted(self.seconds.items(), key=lambda item: item[1])
        parts = [", ".join(f"{engine} {seconds:.3f} s" for engine, seconds in times)]
        parts += [f"{engine} rejected, {reason}" for engine, reason in self.rejected.items()]
        return (
            f"engine {self.engine}: the fastest on this machine whose detections equal "
            f"TensorFlow's ({'; '.join(parts)})"
        )


def choose_engine(
    tensorflow: ModelFunction,
    makers: Mapping[str, Callable[[], ModelFunction]],
    sample: Mapping[str, np.ndarray],
) -> tuple[EngineChoice, ModelFunction]:
    """Try all engines on one sample.

    Args:
        tensorflow: The reference.
        makers: Engine -> make its function; raises ValueError if the engine is unavailable.
        sample: Inputs with an image of the dataset.
    """
    expected = tensorflow(sample)
    functions = {TENSORFLOW: tensorflow}
    choice = EngineChoice(TENSORFLOW)
    for engine, make in makers.items():
        try:
            function = make()
            reason = explain_difference(function(sample), expected)
        except (ValueError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
        if reason:
            choice.rejected[engine] = reason
        else:
            functions[engine] = function
    times: dict[str, list[float]] = {engine: [] for engine in functions}
    for _ in range(_ROUNDS):  # Interleaved, so that other load on the machine affects all engines.
        for engine, function in functions.items():
            start = time.perf_counter()
            function(sample)
            times[engine].append(time.perf_counter() - start)
    choice.seconds = {engine: min(values) for engine, values in times.items()}
    choice.engine = min(choice.seconds, key=lambda engine: choice.seconds[engine])
    return choice, functions[choice.engine]


def explain_difference(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    tolerance: float = TOLERANCE,
) -> str:
    """Return the first difference between the detections of two batches; empty if there is none.

    Detections are equal if they have one class and their boxes and scores differ by at most
    `tolerance`. If an image has the maximum number of detections, those within the tolerance of the
    last one may differ.
    """
    num_images = len(expected[Detections.num_detections])
    reasons = (_explain_image_difference(found, expected, i, tolerance) for i in range(num_images))
    return next((reason for reason in reasons if reason), "")


def _explain_image_difference(
    found: Mapping[str, np.ndarray],
    expected: Mapping[str, np.ndarray],
    image: int,
    tolerance: float,
) -> str:
    boxes, scores, classes = _valid_detections(expected, image)
    own_boxes, own_scores, own_classes = _valid_detections(found, image)
    if not np.isfinite(own_boxes).all() or not np.isfinite(own_scores).all():
        return "boxes or scores are not finite"
    number = len(own_scores)
    is_unmatched = np.ones(number, bool)
    is_full = number == len(found[Detections.scores][image])
    lowest_compared = (own_scores[-1] if is_full else 0.0) + 2 * tolerance
    for box, score, label in zip(boxes, scores, classes, strict=True):
        equal = is_unmatched & (own_classes == label) & (np.abs(own_scores - score) <= tolerance)
        equal &= np.abs(own_boxes - box).max(axis=-1, initial=0.0) <= tolerance
        if equal.any():
            is_unmatched[np.argmax(equal)] = False
        elif score > lowest_compared:
            return f"class {label:g} with score {score:.4f} at {np.round(box, 3)} is missing"
    extra = is_unmatched & (own_scores > lowest_compared)
    if extra.any():
        first = int(np.argmax(extra))
        return f"class {own_classes[first]:g} with score {own_scores[first]:.4f} is extra"
    return ""


def _valid_detections(detections: Mapping[str, np.ndarray], image: int) -> list[np.ndarray]:
    """Return boxes, scores and classes of one image without padding."""
    number = int(detections[Detections.num_detections][image])
    keys = (Detections.boxes, Detections.scores, Detections.classes)
    return [np.asarray(detections[key][image][:number]) for key in keys]
