"""The detector as a function of one tensor: what a SavedModel serves.

Shape letters: B batch, P proposals, K classes without background, D detections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from object_detection_mtl.checkpoints import native
from object_detection_mtl.export.export_options import ExportOptions
from object_detection_mtl.fields import Detections


class DetectionModule(tf.Module):
    """Answers with the OD API's outputs, all float32.

    detection_boxes [B, D, 4], detection_scores [B, D], detection_classes [B, D] (1-based, and 1 in
    padding rows), num_detections [B], detection_multiclass_scores [B, D, K + 1],
    detection_anchor_indices [B, D], raw_detection_boxes [B, P, 4], raw_detection_scores
    [B, P, K + 1]; see `fields.Detections`. D is max_total_detections, always.

    The detector itself is not part of the module: a SavedModel would describe it as Keras layers,
    and reading those needs more than TensorFlow. What is saved is the graph and, under the names
    that they have in a checkpoint, the variables.

    Attributes:
        detect: the function. Calling the module is the same.
    """

    def __init__(self, detector: Any, options: ExportOptions) -> None:
        """Args:
        detector: built for inference.
        options: of which the input and the auxiliary outputs are used.

        Raises:
            ValueError: a detector built for training, or auxiliary outputs of one without tasks.
        """
        super().__init__(name="detection_module")
        if detector.is_training:
            raise ValueError("build the detector with is_training=False to serve it")
        chosen = options.input
        auxiliary = auxiliary_outputs(detector) if options.auxiliary_outputs else ()
        self.model = native.tree(plain_variables(native.named_variables(detector)))

        def detect(input_tensor: tf.Tensor) -> dict[str, tf.Tensor]:
            inputs, true_image_shapes = chosen.to_inputs(detector, input_tensor)
            predictions = detector.predict(inputs, true_image_shapes)
            outputs = served(detector.postprocess(predictions, true_image_shapes))
            return outputs | {key: predictions[key] for key in auxiliary if key in predictions}

        self.detect = tf.function(detect, input_signature=[chosen.spec()])
        # Users of the OD API call what `tf.saved_model.load` gives them.
        self.__call__ = self.detect


def served(detections: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Detections as the detector gives them -> as they are served."""
    outputs = {name: tf.cast(value, tf.float32) for name, value in detections.items()}
    outputs[Detections.classes] += 1.0
    return outputs


def auxiliary_outputs(detector: Any) -> tuple[str, ...]:
    """Names of the predictions of the auxiliary tasks that are served where asked for."""
    names = tuple(name for task in detector.aux_tasks for name in task.outputs)
    if not names:
        raise ValueError(
            "export_auxiliary_outputs: the model has no auxiliary tasks; switch some on in "
            "model { mtl {} } or leave the flag out"
        )
    return names


def plain_variables(names: Mapping[str, keras.Variable]) -> dict[str, tf.Variable]:
    """TensorFlow's variables inside of Keras's, under the same names."""
    return {name: variable.value for name, variable in names.items()}
