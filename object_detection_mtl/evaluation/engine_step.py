"""One evaluation batch in another engine than TensorFlow: detections only.

Losses and the metrics of auxiliary tasks need the TensorFlow detector; they are not reported.

Shape letters: B batch, D detections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.evaluation.evaluation_loop import Tensors
from object_detection_mtl.export.exported_module import served_detections
from object_detection_mtl.export.runtimes import runtime_conversion
from object_detection_mtl.fields import Batch, Detections

_KEYS = (Batch.inputs, Batch.true_image_shapes)
_RETURNED = (
    Detections.boxes,
    Detections.scores,
    Detections.classes,
    Detections.num_detections,
)


class InputsModule(tf.Module):
    """A detector as a function of resized and normalized batches.

    Args:
        detector: built for inference.
        element_spec: of the evaluation dataset.

    Attributes:
        detect: inputs [B, h, w, 3], true_image_shapes [B, 3] -> `fields.Detections` [B, D, ...],
            all float32, with 1-based classes.
    """

    def __init__(self, detector: Any, element_spec: Mapping[str, tf.TypeSpec]) -> None:
        super().__init__(name="inputs_module")

        def detect(inputs: tf.Tensor, true_image_shapes: tf.Tensor) -> dict[str, tf.Tensor]:
            predictions = detector.predict(inputs, true_image_shapes)
            detections = detector.postprocess(predictions, true_image_shapes)
            return served_detections({key: detections[key] for key in _RETURNED})

        specs = [tf.TensorSpec.from_spec(element_spec[key], name=key) for key in _KEYS]
        self.detect = tf.function(detect, input_signature=specs)


def make_infer_fn(
    detector: Any, dataset: tf.data.Dataset, engine: str, precision: str
) -> tuple[str, Callable[[Tensors], Tensors]]:
    """Return the engine's name, and a function from a batch to detections.

    The function corresponds to that of `evaluation_step`, with the detector's current weights.

    Args:
        detector: built for inference.
        dataset: of the evaluation; engine 'auto' is chosen by its first batch.
        engine: see `runtime_conversion.function_in_engine`.
        precision: see `runtime_conversion.function_in_engine`.
    """

    def arrays(batch: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {key: np.asarray(batch[key]) for key in _KEYS}

    chosen, run = runtime_conversion.function_in_engine(
        engine,
        lambda: InputsModule(detector, dataset.element_spec),
        precision=precision,
        sample=lambda: arrays(next(iter(dataset.take(1)))),
    )

    def infer(batch: Tensors) -> Tensors:
        found = run(arrays(batch))
        return {**found, Detections.classes: found[Detections.classes] - 1.0}

    return chosen, infer
