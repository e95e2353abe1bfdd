"""Predictors: a detector or SavedModel as a function from images to detections.

Shape letters: H W an image, N detections.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.config import pipeline
from object_detection_mtl.data.image_files import encode_png
from object_detection_mtl.data.image_resizing import size_within
from object_detection_mtl.export import saved_model
from object_detection_mtl.export.exported_module import require_detector, served_detections
from object_detection_mtl.export.serving_inputs import INPUT_NAME, make_encoded_example
from object_detection_mtl.fields import SERVED_OUTPUTS
from object_detection_mtl.inference.image_detections import ImageDetections
from object_detection_mtl.inference.model_files import find_saved_model

# Size of the image that warms a model up, in pixels. Models resize it to the shape of all images of
# 4:3, as most cameras have; runtimes prepare each shape of the inputs anew.
_GRAY_SIZE = (48, 64)

# (H, W) of an image -> key; images of equal keys have one size after resizing.
SizeKey = Callable[[tuple[int, int]], Hashable]


# An image [H, W, 3] uint8 -> its detections.
Predictor = Callable[[np.ndarray], ImageDetections]


@dataclass(frozen=True)
class PreparedImage:
    """An image as the input of a model.

    Attributes:
        value: Element of the batch for `StagedPredictor.detect`.
        group: Images of equal groups can share a batch without padding.
    """

    value: Any
    group: Hashable = None


@dataclass(frozen=True)
class StagedPredictor:
    """A predictor in two stages: preparation, which threads can run ahead, and batched detection.

    Attributes:
        prepare: Prepare an image [H, W, 3] uint8. Several threads may call it.
        detect: Detect on the values of prepared images of one group.
        batching_error: Why the model does not take batches; empty if it does.
        num_streams: Number of threads that may call `detect` at the same time.
    """

    prepare: Callable[[np.ndarray], PreparedImage]
    detect: Callable[[Sequence[Any]], list[ImageDetections]]
    batching_error: str = ""
    num_streams: int = 1

    def __call__(self, image: np.ndarray) -> ImageDetections:
        """Return the detections of one image."""
        return self.detect([self.prepare(image).value])[0]


def as_staged_predictor(predictor: Predictor) -> StagedPredictor:
    """Return a staged predictor as it is, a plain function in one stage."""
    if isinstance(predictor, StagedPredictor):
        return predictor
    return StagedPredictor(
        prepare=PreparedImage,
        detect=lambda images: [predictor(image) for image in images],
        batching_error="the model takes one image at a time",
    )


def check_batch_size(predictor: StagedPredictor, batch_size: int) -> None:
    """Check that a predictor supports a batch size.

    Raises:
        ValueError: The batch size is above 1 and the model takes one image at a time.
    """
    if batch_size > 1 and predictor.batching_error:
        raise ValueError(f"batch_size is {batch_size}, but {predictor.batching_error}")


def warm_up(predictor: StagedPredictor) -> StagedPredictor:
    """Return a predictor that has detected in a gray image, so that the first image is not slow.

    A first call optimizes the graph and allocates memory: it takes several times as long as others.
    An error of the model is left to the first image, which has a name to report it with.
    """
    gray = np.full((*_GRAY_SIZE, 3), 127, np.uint8)
    for _ in range(predictor.num_streams):  # Its streams take turns.
        with contextlib.suppress(Exception):
            predictor(gray)
    return predictor


def from_detector(detector: Any) -> StagedPredictor:
    """Return the predictor of a detector with loaded weights; it takes batches."""
    preprocess = tf.function(
        detector.preprocess,
        input_signature=[tf.TensorSpec([1, None, None, 3], tf.uint8)],
        autograph=False,
    )
    # A fixed-shape resizer makes the shape of the inputs static, and with it that of the anchors.
    inputs_shape = preprocess.get_concrete_function().outputs[0].shape

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *inputs_shape[1:]], tf.float32),
            tf.TensorSpec([None, 3], tf.int32),
        ],
        autograph=False,
    )
    def serve(inputs: tf.Tensor, true_image_shapes: tf.Tensor) -> dict[str, tf.Tensor]:
        predictions = detector.predict(inputs, true_image_shapes, training=False)
        return served_detections(detector.postprocess(predictions, true_image_shapes))

    def prepare(image: np.ndarray) -> PreparedImage:
        inputs, true_image_shapes = preprocess(image[np.newaxis])
        return PreparedImage((inputs, true_image_shapes), group=tuple(inputs.shape))

    def detect(prepared: Sequence[tuple[tf.Tensor, tf.Tensor]]) -> list[ImageDetections]:
        return remove_padding(
            serve(*(tf.concat(values, axis=0) for values in zip(*prepared, strict=True)))
        )

    return StagedPredictor(prepare, detect)


def from_saved_model(directory: str) -> StagedPredictor:
    """Return the predictor of a SavedModel of this package or the OD API, of any input type.

    Args:
        directory: The directory with saved_model.pb, or the exporter's output directory above it.

    Raises:
        FileNotFoundError: There is no SavedModel.
        ValueError: The SavedModel is corrupt, or is not a detector.
    """
    directory = find_saved_model(directory)
    try:
        loaded = tf.saved_model.load(directory)
    except (tf.errors.OpError, OSError, ValueError, IndexError) as error:
        raise ValueError(
            f"SavedModel {directory!r} cannot be read; it is corrupt or incomplete, copy it again "
            f"({str(error).splitlines()[0]})"
        ) from error
    signature = loaded.signatures.get(saved_model.SIGNATURE)
    _check_signature(signature, sorted(loaded.signatures), directory)
    prepare, to_batch = _input_form(signature, directory)

    def detect(prepared: Sequence[Any]) -> list[ImageDetections]:
        # The closure keeps `loaded`, which owns the variables, alive.
        assert loaded is not None
        return remove_padding(signature(**{INPUT_NAME: to_batch(prepared)}))

    return StagedPredictor(prepare, detect, _batching_error(signature, directory))


def remove_padding(outputs: Mapping[str, Any]) -> list[ImageDetections]:
    """Return the detections of each image of a served batch."""
    columns = [np.asarray(outputs[name]) for name in SERVED_OUTPUTS]
    return [
        ImageDetections(boxes, scores, np.rint(classes).astype(np.int64)).best(int(number))
        for boxes, scores, classes, number in zip(*columns, strict=True)
    ]


def _check_signature(signature: Any, names: Iterable[str], directory: str) -> None:
    if signature is None:
        raise ValueError(
            f"SavedModel {directory!r} has no signature {saved_model.SIGNATURE!r} (it has "
            f"{', '.join(names) or 'none'}); export it with exporter_main_v2"
        )
    require_detector(
        f"SavedModel {directory!r}",
        signature.structured_input_signature[1],
        signature.structured_outputs,
    )


def _batching_error(signature: Any, directory: str) -> str:
    spec = signature.structured_input_signature[1][INPUT_NAME]
    if spec.shape.rank is None or spec.shape[0] is None:
        return ""
    return (
        f"SavedModel {directory!r} takes {spec.shape[0]} image at a time; export it with "
        "--dynamic_batch, or give --pipeline_config_path and --checkpoint_dir instead"
    )


def _input_form(
    signature: Any, directory: str
) -> tuple[Callable[[np.ndarray], PreparedImage], Callable[[Sequence[Any]], tf.Tensor]]:
    """Return how an image is prepared for the signature, and how a batch becomes its input."""
    dtype = signature.structured_input_signature[1][INPUT_NAME].dtype
    if dtype != tf.string:  # Arrays share a batch only if they have one size.
        return (
            lambda image: PreparedImage(image, group=image.shape),
            lambda images: tf.cast(np.stack(images), dtype),
        )
    encode = make_encoded_example if _parses_examples(signature) else bytes
    size_key = size_key_of_saved_model(directory)
    return (
        lambda image: PreparedImage(encode(encode_png(image)), group=size_key(image.shape[:2])),
        tf.constant,
    )


def _parses_examples(signature: Any) -> bool:
    """Return whether a signature that takes strings takes tf.train.Examples, not image files."""
    graph = signature.graph.as_graph_def()
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    return any(node.op.startswith("Parse") and "Example" in node.op for node in nodes)


# Only images of one size after resizing share a batch. Padding would change their detections: the
# zeros around a smaller image are normalized and convolved like its pixels, so its features at the
# border are not those that a convolution's own zero padding gives.


def size_key_of_saved_model(directory: str) -> SizeKey:
    """Return the size key of a SavedModel that resizes each image of a batch itself.

    The metadata of an export of this package have the resizer. Whether another SavedModel takes
    images of different sizes in a batch is unknown: only images of equal size share one.

    Args:
        directory: The directory with saved_model.pb.
    """
    path = os.path.join(directory, saved_model.METADATA)
    if not os.path.isfile(path):
        return _image_size
    try:
        with open(path, encoding="utf-8") as file:
            config = pipeline.parse(json.load(file)["pipeline_config"])
    except (ValueError, KeyError, TypeError):  # For example the metadata of another version.
        return _image_size
    return size_key_of_resizer(config.model.faster_rcnn.image_resizer)


def size_key_of_resizer(resizer: Any) -> SizeKey:
    """Return the size key of an ImageResizer message of a resolved config."""
    kind = resizer.WhichOneof("image_resizer_oneof")
    if kind == "fixed_shape_resizer":
        return lambda size: ()
    if kind == "keep_aspect_ratio_resizer":
        keep = resizer.keep_aspect_ratio_resizer
        if keep.pad_to_max_dimension:
            return lambda size: ()
        return lambda size: size_within(tuple(size), keep.min_dimension, keep.max_dimension)
    return _image_size


def _image_size(size: tuple[int, int]) -> Hashable:
    return tuple(size)
