"""Exported module: a detector as a function of one tensor.

Shape letters: B batch, P proposals, K classes without background, D detections.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.checkpoints import native
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.export.serving_inputs import INPUT_NAME
from object_detection_mtl.fields import SERVED_OUTPUTS, Detections


class DetectionModule(tf.Module):
    """A detector with the OD API's outputs, all float32.

    detection_boxes [B, D, 4], detection_scores [B, D], detection_classes [B, D] (1-based, and 1 in
    padding rows), num_detections [B], detection_multiclass_scores [B, D, K + 1],
    detection_anchor_indices [B, D], raw_detection_boxes [B, P, 4], raw_detection_scores
    [B, P, K + 1]; see `fields.Detections`. D is always max_total_detections.

    The detector itself is not part of the module: a SavedModel would store its Keras layers, which
    can only be loaded with Keras. The module holds the graph and the variables, named as in a
    checkpoint.

    Attributes:
        model: The variables.
        detect: The function. Calling the module is the same.
    """

    def __init__(self, detector: Any, options: ExportOptions) -> None:
        """Make the module.

        Args:
            detector: With loaded weights.
            options: Options of the export, of which input and auxiliary outputs matter here.

        Raises:
            ValueError: Auxiliary outputs are requested and the detector has no auxiliary tasks.
        """
        super().__init__(name="detection_module")
        input_type = options.input
        auxiliary = auxiliary_output_names(detector) if options.auxiliary_outputs else ()
        self.model = native.tree(plain_variables(native.named_variables(detector)))

        def detect(input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
            inputs, true_image_shapes = input_type.to_inputs(detector, input_tensor)
            predictions = detector.predict(inputs, true_image_shapes, training=False)
            outputs = served_detections(detector.postprocess(predictions, true_image_shapes))
            return outputs | {key: predictions[key] for key in auxiliary if key in predictions}

        self.detect = tf.function(detect, input_signature=[input_type.spec()], autograph=False)
        # OD API users call the object that `tf.saved_model.load` returns.
        self.__call__ = self.detect


def require_detector(name: str, inputs: Iterable[str], outputs: Iterable[str]) -> None:
    """Check that a model has the input and the outputs of an exported detector.

    Args:
        name: What the model is, for the message.
        inputs: Names of its inputs.
        outputs: Names of its outputs.

    Raises:
        ValueError: It has another input, or lacks an output.
    """
    inputs, outputs = sorted(inputs), set(outputs)
    missing = [output for output in SERVED_OUTPUTS if output not in outputs]
    if inputs != [INPUT_NAME] or missing:
        raise ValueError(
            f"{name} is not a detector exported by exporter_main_v2: its inputs are "
            f"{', '.join(inputs) or 'none'} (expected {INPUT_NAME}); it lacks the outputs "
            f"{', '.join(missing) or 'none'}"
        )


def served_detections(detections: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the detections in the served form: float32, classes from 1."""
    outputs = {name: tf.cast(value, tf.float32) for name, value in detections.items()}
    outputs[Detections.classes] += 1.0
    return outputs


def auxiliary_output_names(detector: Any) -> tuple[str, ...]:
    """Return the names of the predictions of the auxiliary tasks.

    Raises:
        ValueError: The detector has no auxiliary tasks.
    """
    names = tuple(name for task in detector.aux_tasks for name in task.outputs)
    if not names:
        raise ValueError(
            "export_auxiliary_outputs: the model has no auxiliary tasks; enable some in "
            "model { mtl {} } or drop the flag"
        )
    return names


def plain_variables(names: Mapping[str, keras.Variable]) -> dict[str, tf.Variable]:
    """Return the TensorFlow variables of Keras variables, under the same names."""
    return {name: variable.value for name, variable in names.items()}
