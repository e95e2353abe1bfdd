"""A detector as a model of Apache Beam's RunInference; needs the extra [beam].

    handler = DetectorHandler(functools.partial(predictor.from_saved_model, directory))
    found = pictures | RunInference(handler)
    found = pictures_with_keys | RunInference(KeyedModelHandler(handler))

Shape letters: H W a picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from apache_beam.ml.inference.base import ModelHandler, PredictionResult

from object_detection_mtl.inference import batching, stages
from object_detection_mtl.inference.sources.input_files import PictureError
from object_detection_mtl.inference.stages import Predictor, Prepared, StagedPredictor


class DetectorHandler(ModelHandler[np.ndarray, PredictionResult, StagedPredictor]):
    """Pictures [H, W, 3] uint8 -> PredictionResult(picture, what is on it).

    In place of `stages.Found` there is a PictureError for a picture that the model refuses or that
    is too large for the memory.
    """

    def __init__(self, load: Callable[[], Predictor], batch_size: int = 1) -> None:
        """Args:
        load: makes the predictor, once for every process. It is sent to the workers, so it has to
            be a function of a module, or a functools.partial of one.
        batch_size: detect on up to so many pictures at once, of those of one size in the model.
        """
        super().__init__()
        self._load = load
        self._batch_size = batch_size

    def load_model(self) -> StagedPredictor:
        predictor = stages.staged(self._load())
        stages.require_batches(predictor, self._batch_size)
        return predictor

    def run_inference(
        self, batch: Sequence[np.ndarray], model: StagedPredictor, inference_args: Any = None
    ) -> Iterable[PredictionResult]:
        for picture, found in batching.detect(model, _prepare(batch, model), self._batch_size):
            yield PredictionResult(picture, found)

    def batch_elements_kwargs(self) -> dict[str, int]:
        """What Beam calls a batch holds pictures of all sizes; those of one are taken from it."""
        several = batching.WAITING_BATCHES if self._batch_size > 1 else 1
        return {"min_batch_size": 1, "max_batch_size": several * self._batch_size}

    def get_num_bytes(self, batch: Sequence[np.ndarray]) -> int:
        return sum(picture.nbytes for picture in batch)

    def get_metrics_namespace(self) -> str:
        return "object_detection_mtl"


def _prepare(
    pictures: Iterable[np.ndarray], model: StagedPredictor
) -> Iterator[tuple[np.ndarray, Prepared | Exception, int]]:
    for picture in pictures:
        try:
            yield picture, model.prepare(picture), picture.nbytes
        except MemoryError:
            yield picture, PictureError("there is not enough memory to prepare it"), 0
