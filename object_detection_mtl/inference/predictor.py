"""A model as a function from one picture to its detections, whatever form the model has.

Shape letters: H W a picture, N detections.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image

from object_detection_mtl.export import saved_model
from object_detection_mtl.export.inputs import INPUT_NAME
from object_detection_mtl.export.module import DetectionModule
from object_detection_mtl.export.options import ExportOptions
from object_detection_mtl.fields import Detections, TfExample

SAVED_MODEL_FILE = "saved_model.pb"
_OUTPUTS = (Detections.boxes, Detections.scores, Detections.classes, Detections.num_detections)


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


def from_detector(detector: Any) -> Predictor:
    """A detector that has its weights, built for inference."""
    module = DetectionModule(detector, ExportOptions())
    return lambda picture: _first(module.detect(tf.constant(picture[np.newaxis])))


def from_saved_model(directory: str) -> Predictor:
    """A SavedModel of this package or of the OD API, with any of their input types.

    Args:
        directory: the one with saved_model.pb, or the exporter's output directory above it.

    Raises:
        FileNotFoundError: there is no SavedModel.
        ValueError: it cannot be read, or is no detector.
    """
    directory = saved_model_directory(directory)
    try:
        loaded = tf.saved_model.load(directory)
    except (tf.errors.OpError, OSError, ValueError, IndexError) as error:
        raise ValueError(
            f"SavedModel {directory!r} cannot be read; it is damaged or incomplete, copy it again "
            f"({str(error).splitlines()[0]})"
        ) from error
    signature = loaded.signatures.get(saved_model.SIGNATURE)
    _require_detector(signature, sorted(loaded.signatures), directory)
    encode = _encoder(signature)

    def predict(picture: np.ndarray) -> Found:
        # `loaded` owns the variables and would take them along when it goes.
        assert loaded is not None
        return _first(signature(**{INPUT_NAME: encode(picture)}))

    return predict


def saved_model_directory(directory: str) -> str:
    """The directory with saved_model.pb: `directory` or its folder saved_model.

    Raises:
        FileNotFoundError: neither.
    """
    for candidate in (directory, os.path.join(directory, saved_model.SAVED_MODEL_NAME)):
        if tf.io.gfile.exists(os.path.join(candidate, SAVED_MODEL_FILE)):
            return candidate
    reason = (
        f"it has no {SAVED_MODEL_FILE}"
        if tf.io.gfile.isdir(directory)
        else "there is no such directory"
    )
    raise FileNotFoundError(
        f"no SavedModel in {directory!r}: {reason}; give the folder saved_model that "
        "exporter_main_v2 wrote"
    )


def version(directory: str) -> str:
    """Tells a SavedModel from another one, and from a later export to the same place."""
    file = os.path.join(directory, SAVED_MODEL_FILE)
    return f"{os.path.abspath(directory)} {tf.io.gfile.stat(file).mtime_nsec}"


def _require_detector(signature: Any, names: Iterable[str], directory: str) -> None:
    if signature is None:
        raise ValueError(
            f"SavedModel {directory!r} has no signature {saved_model.SIGNATURE!r} (it has "
            f"{', '.join(names) or 'none'}); export it with exporter_main_v2"
        )
    inputs = sorted(signature.structured_input_signature[1])
    missing = [name for name in _OUTPUTS if name not in signature.structured_outputs]
    if inputs != [INPUT_NAME] or missing:
        raise ValueError(
            f"SavedModel {directory!r} is no detector as exporter_main_v2 writes it: its inputs "
            f"are {', '.join(inputs)} (expected {INPUT_NAME}); it lacks the outputs "
            f"{', '.join(missing) or 'none'}"
        )


def _encoder(signature: Any) -> Callable[[np.ndarray], tf.Tensor]:
    """What turns a picture into the signature's input."""
    dtype = signature.structured_input_signature[1][INPUT_NAME].dtype
    if dtype == tf.string:
        return _as_example if _parses_examples(signature) else _as_file
    return lambda picture: tf.cast(picture[np.newaxis], dtype)


def _parses_examples(signature: Any) -> bool:
    """Whether a signature that takes strings takes tf.train.Examples rather than picture files."""
    graph = signature.graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return any(node.op.startswith("Parse") and "Example" in node.op for node in nodes)


def _as_file(picture: np.ndarray) -> tf.Tensor:
    return tf.constant([_png(picture)])


def _as_example(picture: np.ndarray) -> tf.Tensor:
    values = tf.train.Feature(bytes_list=tf.train.BytesList(value=[_png(picture)]))
    example = tf.train.Example(features=tf.train.Features(feature={TfExample.encoded: values}))
    return tf.constant([example.SerializeToString()])


def _png(picture: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _first(outputs: Mapping[str, tf.Tensor]) -> Found:
    """The one picture of a served batch, without padding."""
    boxes, scores, classes, number = (outputs[name].numpy()[0] for name in _OUTPUTS)
    found = Found(boxes, scores, np.rint(classes).astype(np.int64))
    return found.best(int(number))
