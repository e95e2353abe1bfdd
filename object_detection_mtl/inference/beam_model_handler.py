"""Model handler of Apache Beam's RunInference for detectors; needs the extra [beam].

    handler = DetectorHandler(functools.partial(predictor.from_saved_model, directory))
    detections = images | RunInference(handler)
    detections = images_with_keys | RunInference(KeyedModelHandler(handler))

Shape letters: H W an image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from object_detection_mtl.data.image_files import ImageError
from object_detection_mtl.inference import batching
from object_detection_mtl.inference.predictor import (
    Predictor,
    PreparedImage,
    StagedPredictor,
    as_staged_predictor,
    check_batch_size,
)


class DetectorHandler(ModelHandler[np.ndarray, PredictionResult, StagedPredictor]):
    """Images [H, W, 3] uint8 -> PredictionResult(image, ImageDetections).

    An image that the model rejects, or that is too large for the memory, has an ImageError in place
    of its detections.
    """

    def __init__(self, load: Callable[[], Predictor], batch_size: int = 1) -> None:
        """Make a handler.

        Args:
            load: Load the predictor; called once in every process. It is sent to the workers, so it
                must be a function of a module, or a functools.partial of one.
            batch_size: Maximum number of images in a batch; they have one size in the model.
        """
        super().__init__()
        self._load = load
        self._batch_size = batch_size

    def load_model(self) -> StagedPredictor:
        """Load the predictor."""
        predictor = as_staged_predictor(self._load())
        check_batch_size(predictor, self._batch_size)
        return predictor

    def run_inference(
        self, batch: Sequence[np.ndarray], model: StagedPredictor, inference_args: Any = None
    ) -> Iterable[PredictionResult]:
        """Yield the detections of each image."""
        prepared = _prepare_images(batch, model)
        for image, detections in batching.detect_in_batches(model, prepared, self._batch_size):
            yield PredictionResult(image, detections)

    def batch_elements_kwargs(self) -> dict[str, int]:
        """Return the size of Beam's batches, which have images of all sizes."""
        batches = batching.WAITING_BATCHES if self._batch_size > 1 else 1
        return {"min_batch_size": 1, "max_batch_size": batches * self._batch_size}

    def get_num_bytes(self, batch: Sequence[np.ndarray]) -> int:
        """Return the size of the images."""
        return sum(image.nbytes for image in batch)

    def get_metrics_namespace(self) -> str:
        """Return the namespace of Beam's metrics."""
        return "object_detection_mtl"


def _prepare_images(
    images: Iterable[np.ndarray], model: StagedPredictor
) -> Iterator[tuple[np.ndarray, PreparedImage | Exception, int]]:
    for image in images:
        try:
            yield image, model.prepare(image), image.nbytes
        except MemoryError:
            yield image, ImageError("not enough memory to prepare it"), 0
