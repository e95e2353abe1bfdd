"""A model as a function from pictures to their detections, whatever form the model has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.export import saved_model
from object_detection_mtl.export.exported_module import served
from object_detection_mtl.export.serving_inputs import INPUT_NAME, as_example
from object_detection_mtl.fields import Detections
from object_detection_mtl.inference import sizes
from object_detection_mtl.inference.sources.input_files import to_png
from object_detection_mtl.inference.stages import Found, Prepared, StagedPredictor

SAVED_MODEL_FILE = "saved_model.pb"
_OUTPUTS = (Detections.boxes, Detections.scores, Detections.classes, Detections.num_detections)


def from_detector(detector: Any) -> StagedPredictor:
    """A detector that has its weights, built for inference. It takes batches."""
    preprocess = tf.function(
        detector.preprocess, input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)]
    )
    # A resizer of one fixed size shows in the inputs' shape, and with it in that of the anchors.
    inputs_shape = preprocess.get_concrete_function().outputs[0].shape

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *inputs_shape[1:]], tf.float32),
            tf.TensorSpec([None, 3], tf.int32),
        ]
    )
    def serve(inputs: tf.Tensor, true_image_shapes: tf.Tensor) -> dict[str, tf.Tensor]:
        predictions = detector.predict(inputs, true_image_shapes)
        return served(detector.postprocess(predictions, true_image_shapes))

    def prepare(picture: np.ndarray) -> Prepared:
        inputs, true_image_shapes = preprocess(picture[np.newaxis])
        return Prepared((inputs, true_image_shapes), group=tuple(inputs.shape))

    def detect(prepared: Sequence[tuple[tf.Tensor, tf.Tensor]]) -> list[Found]:
        return without_padding(
            serve(*(tf.concat(values, axis=0) for values in zip(*prepared, strict=True)))
        )

    return StagedPredictor(prepare, detect)


def from_saved_model(directory: str) -> StagedPredictor:
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
    prepare, to_batch = _input_form(signature, directory)

    def detect(prepared: Sequence[Any]) -> list[Found]:
        # `loaded` owns the variables and would take them along when it goes.
        assert loaded is not None
        return without_padding(signature(**{INPUT_NAME: to_batch(prepared)}))

    return StagedPredictor(prepare, detect, _why_one_at_a_time(signature, directory))


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


def _why_one_at_a_time(signature: Any, directory: str) -> str:
    spec = signature.structured_input_signature[1][INPUT_NAME]
    if spec.shape.rank is None or spec.shape[0] is None:
        return ""
    return (
        f"SavedModel {directory!r} takes {spec.shape[0]} picture at a time; export it with "
        "--dynamic_batch, or give --pipeline_config_path and --checkpoint_dir in its place"
    )


def _input_form(
    signature: Any, directory: str
) -> tuple[Callable[[np.ndarray], Prepared], Callable[[Sequence[Any]], tf.Tensor]]:
    """How a picture is prepared for the signature, and prepared pictures become its input."""
    dtype = signature.structured_input_signature[1][INPUT_NAME].dtype
    if dtype != tf.string:  # arrays, which have to be of one size to share a batch
        return (
            lambda picture: Prepared(picture, group=picture.shape),
            lambda pictures: tf.cast(np.stack(pictures), dtype),
        )
    wrap = as_example if _parses_examples(signature) else bytes
    size = sizes.of_saved_model(directory)
    return (
        lambda picture: Prepared(wrap(to_png(picture)), group=size(picture.shape[:2])),
        tf.constant,
    )


def _parses_examples(signature: Any) -> bool:
    """Whether a signature that takes strings takes tf.train.Examples rather than picture files."""
    graph = signature.graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return any(node.op.startswith("Parse") and "Example" in node.op for node in nodes)


def without_padding(outputs: Mapping[str, Any]) -> list[Found]:
    """What is on each picture of a served batch."""
    columns = [np.asarray(outputs[name]) for name in _OUTPUTS]
    return [
        Found(boxes, scores, np.rint(classes).astype(np.int64)).best(int(number))
        for boxes, scores, classes, number in zip(*columns, strict=True)
    ]
