"""Evaluates the checkpoints of a run, one after another, and writes what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from object_detection_mtl.checkpoints import checkpoint_stream, loading
from object_detection_mtl.config.label_map import Category
from object_detection_mtl.evaluation import engine_step, metrics_output
from object_detection_mtl.evaluation.auxiliary_figures import draw_comparisons
from object_detection_mtl.evaluation.evaluation_loop import (
    EvaluationResult,
    Tensors,
    evaluate_detections,
    visualize_examples,
)
from object_detection_mtl.evaluation.evaluation_step import COMPARISONS, make_infer_fn
from object_detection_mtl.evaluation.evaluator import CategoryLike, DetectionEvaluator
from object_detection_mtl.evaluation.metrics_output import EvaluationWriter
from object_detection_mtl.export.runtimes.runtime_models import FLOAT32, TENSORFLOW
from object_detection_mtl.fields import Batch, Groundtruth
from object_detection_mtl.training import failures

# The class of a detector that finds objects without naming them: proposals alone.
OBJECT = Category(1, "object", "object")

NamedImages = list[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class EvaluationOptions:
    """What an evaluation draws and how much it reads.

    Attributes:
        num_examples: images, at most; None for all.
        num_visualizations: images drawn; needs data with `original_images`.
        min_score: of the detections drawn.
        max_boxes: detections drawn on a picture, at most.
        use_moving_averages: evaluate the averages of the weights where a checkpoint has them.
        engine, precision: what detects, and how; see `engine_step`.
    """

    num_examples: int | None = None
    num_visualizations: int = 0
    min_score: float = 0.5
    max_boxes: int | None = 20
    use_moving_averages: bool = False
    engine: str = TENSORFLOW
    precision: str = FLOAT32


class CheckpointEvaluation:
    """A detector, its data and its evaluators, for any number of checkpoints."""

    def __init__(
        self,
        detector: Any,
        dataset: tf.data.Dataset,
        evaluators: Sequence[DetectionEvaluator],
        categories: Sequence[CategoryLike],
        writer: EvaluationWriter,
        options: EvaluationOptions,
    ) -> None:
        """Args:
        detector: built for detecting.
        dataset: one pass over the images.
        evaluators: of the metrics wanted.
        categories: the classes.
        writer: where the numbers go.
        options: see `EvaluationOptions`.
        """
        self._detector = detector
        self._dataset = dataset
        self._evaluators = evaluators
        self._categories = categories
        self._writer = writer
        self._options = options
        self._engine = options.engine
        self._infer = make_infer_fn(
            detector, dataset.element_spec, compare=options.num_visualizations > 0
        )

    def evaluate(self, prefix: str) -> tuple[int, dict[str, float]]:
        """Evaluates one checkpoint and prints the metrics.

        Returns:
            the training steps behind it, and TensorBoard name -> value.

        Raises:
            ValueError: it is of another model, or damaged.
        """
        step = checkpoint_stream.step_of(prefix)
        print(f"evaluating {prefix} (step {step})", flush=True)
        loading.load_detector_weights(
            self._detector, prefix, use_moving_averages=self._options.use_moving_averages
        )
        infer = self._infer_with_engine()
        pictures: NamedImages = []
        drawn = 0

        def draw(number: int, batch: Tensors, detections: Tensors) -> None:
            nonlocal drawn
            left = self._options.num_visualizations - drawn
            if left > 0:
                pictures.extend(self._draw(number, batch, detections, left))
                drawn += len(batch[Batch.original_images])

        try:
            result = evaluate_detections(
                self._dataset,
                infer,
                self._evaluators,
                num_examples=self._options.num_examples,
                observe=draw,
            )
        except failures.EXPLAINED as error:
            raise ValueError(f"the evaluation failed: {failures.explain(error)}") from error
        self._report(step, prefix, result, pictures)
        return step, result.metrics

    def _infer_with_engine(self) -> Callable[[Tensors], Tensors]:
        """The engine's function. Other engines than TensorFlow have weights as constants."""
        infer: Callable[[Tensors], Tensors] = self._infer
        if self._engine != TENSORFLOW:
            self._engine, converted = engine_step.make_infer_fn(
                self._detector, self._dataset, self._engine, self._options.precision
            )
            infer = self._infer if self._engine == TENSORFLOW else converted
        return infer

    def _draw(
        self, number: int, batch: Tensors, detections: Tensors, left: int
    ) -> Iterable[tuple[str, np.ndarray]]:
        yield from visualize_examples(
            batch,
            detections,
            self._categories,
            batch_number=number,
            max_images=left,
            min_score=self._options.min_score,
            max_boxes=self._options.max_boxes,
        )
        yield from draw_comparisons(
            batch,
            detections.get(COMPARISONS, {}),  # other engines have none
            self._categories,
            batch_number=number,
            max_images=left,
        )

    def _report(
        self, step: int, prefix: str, result: EvaluationResult, pictures: NamedImages
    ) -> None:
        extra = {"checkpoint": prefix, **result.counters()}
        path = self._writer.write(step, result.metrics, pictures, extra)
        print(
            metrics_output.format_table(
                result.metrics, title=f"step {step}, {result.num_images} images"
            )
        )
        print(f"written to {path}", flush=True)


def as_objects(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """The batches with class 1 for every object; padding keeps its 0."""

    def name_object(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**batch, Groundtruth.classes: tf.minimum(batch[Groundtruth.classes], OBJECT.id)}

    return dataset.map(name_object)
