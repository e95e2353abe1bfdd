"""Choice of the fastest engine whose detections equal TensorFlow's, or nearly so."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from object_detection_mtl.export.runtimes.detection_difference import (
    detection_difference,
    valid_detections,
)
from object_detection_mtl.export.runtimes.runtime_models import TENSORFLOW, Arrays
from object_detection_mtl.fields import Detections

AUTO = "auto"
# Tolerance of scores, and of boxes as fractions of the image.
TOLERANCE = 1e-3
_ROUNDS = 3

# Inputs by name -> outputs by name.
ModelFunction = Callable[[Mapping[str, np.ndarray]], Arrays]


@dataclass(frozen=True)
class AutoOptions:
    """Models that `AUTO` compares, and the difference that it accepts.

    Attributes:
        candidates: Exports to compare besides the installed engines: paths of model.xml and
            model.onnx, such as int8 ones.
        max_difference: Maximum `detection_difference` from TensorFlow on images of the input; 0
            accepts only detections that equal TensorFlow's.
    """

    candidates: tuple[str, ...] = ()
    max_difference: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.max_difference < 1:
            raise ValueError(
                f"auto_max_difference is {self.max_difference}, expected 0 to less than 1 "
                "(0: equal detections, 1: nothing in common)"
            )


@dataclass
class EngineChoice:
    """The chosen engine and the reasons.

    Attributes:
        engine: Name of the engine.
        max_difference: See `AutoOptions`.
        num_images: Number of images that were compared.
        seconds: Engine -> its fastest call.
        differences: Engine -> its difference from TensorFlow; without those that equal it.
        rejected: Engine -> why it could not be chosen.
    """

    engine: str
    max_difference: float = 0.0
    num_images: int = 1
    seconds: dict[str, float] = field(default_factory=dict)
    differences: dict[str, float] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        times = sorted(self.seconds.items(), key=lambda item: item[1])
        parts = [", ".join(self._describe(engine, seconds) for engine, seconds in times)]
        parts += [f"{engine} rejected, {reason}" for engine, reason in self.rejected.items()]
        limit = ""
        if self.max_difference:
            images = f"{self.num_images} image{'s' if self.num_images > 1 else ''}"
            limit = f" or differ by at most {self.max_difference:g} on {images}"
        return (
            f"engine {self.engine}: the fastest on this machine whose detections equal "
            f"TensorFlow's{limit} ({'; '.join(parts)})"
        )

    def _describe(self, engine: str, seconds: float) -> str:
        difference = self.differences.get(engine)
        suffix = "" if difference is None else f" with difference {difference:.3f}"
        return f"{engine} {seconds:.3f} s{suffix}"


def choose_engine(
    tensorflow: ModelFunction,
    makers: Mapping[str, Callable[[], ModelFunction]],
    samples: Sequence[Mapping[str, np.ndarray]],
    max_difference: float = 0.0,
) -> tuple[EngineChoice, ModelFunction]:
    """Try all engines on some samples; the times are those of the first one.

    Args:
        tensorflow: The reference.
        makers: Engine -> make its function; raises ValueError if the engine is unavailable.
        samples: Inputs with images of the dataset.
        max_difference: See `AutoOptions`.
    """
    expected = [tensorflow(sample) for sample in samples]
    functions = {TENSORFLOW: tensorflow}
    choice = EngineChoice(TENSORFLOW, max_difference, len(samples))
    for engine, make in makers.items():
        try:
            function = make()
            found = [function(sample) for sample in samples]
            reason = _compare(choice, engine, found, expected)
        except (ValueError, OSError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0]
        if reason:
            choice.rejected[engine] = reason
        else:
            functions[engine] = function
    times: dict[str, list[float]] = {engine: [] for engine in functions}
    for _ in range(_ROUNDS):  # Interleaved, so that other load on the machine affects all engines.
        for engine, function in functions.items():
            start = time.perf_counter()
            function(samples[0])
            times[engine].append(time.perf_counter() - start)
    choice.seconds = {engine: min(values) for engine, values in times.items()}
    choice.engine = min(choice.seconds, key=lambda engine: choice.seconds[engine])
    return choice, functions[choice.engine]


def _compare(
    choice: EngineChoice, engine: str, found: Sequence[Arrays], expected: Sequence[Arrays]
) -> str:
    """Return why the detections of an engine are not accepted; empty if they are."""
    reasons = [explain_difference(*pair) for pair in zip(found, expected, strict=True)]
    reason = next((reason for reason in reasons if reason), "")
    if not reason or not choice.max_difference:
        return reason
    pairs = zip(found, expected, strict=True)
    difference = float(np.mean([detection_difference(*pair) for pair in pairs]))
    if difference <= choice.max_difference:
        choice.differences[engine] = difference
        return ""
    return f"difference {difference:.3f}" if np.isfinite(difference) else reason


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
    boxes, scores, classes = valid_detections(expected, image)
    own_boxes, own_scores, own_classes = valid_detections(found, image)
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
