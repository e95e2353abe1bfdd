"""Evaluation of the checkpoints of a training run."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from object_detection_mtl import output_paths
from object_detection_mtl.checkpoints import checkpoint_contents, loading
from object_detection_mtl.config.label_map import Category
from object_detection_mtl.data import example_issues, graph_errors
from object_detection_mtl.data.example_issues import IssueLog
from object_detection_mtl.evaluation import metrics_output
from object_detection_mtl.evaluation.auxiliary_figures import draw_comparisons
from object_detection_mtl.evaluation.evaluation_loop import (
    EvaluationResult,
    Tensors,
    evaluate_detections,
    visualize_examples,
)
from object_detection_mtl.evaluation.evaluation_step import (
    COMPARISONS,
    make_engine_infer_fn,
    make_infer_fn,
)
from object_detection_mtl.evaluation.evaluator import CategoryLike, DetectionEvaluator
from object_detection_mtl.evaluation.inference_journal import InferenceJournal, describe_files
from object_detection_mtl.evaluation.metrics_output import EvaluationWriter
from object_detection_mtl.export.runtimes.runtime_models import FLOAT32, TENSORFLOW
from object_detection_mtl.fields import Batch, Groundtruth
from object_detection_mtl.reporting.checkpoint_report import CheckpointReport

# The only class of a detector without a second stage, whose detections are proposals.
OBJECT = Category(1, "object", "object")
# In the directory of the metrics; exists only while an evaluation is unfinished.
_JOURNAL = "unfinished.journal"

NamedImages = list[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of an evaluation.

    Attributes:
        num_visualizations: images drawn; they need data with `original_images`.
        min_score: detections with a lower score are not drawn.
        max_boxes: maximum number of detections drawn in an image; None for all.
        use_moving_averages: evaluate the moving averages of the weights where a checkpoint has
            them.
        engine: runtime of the detector; see `make_engine_infer_fn`.
        precision: its number format.
    """

    num_visualizations: int = 0
    min_score: float = 0.5
    max_boxes: int | None = 20
    use_moving_averages: bool = False
    engine: str = TENSORFLOW
    precision: str = FLOAT32


class CheckpointEvaluation:
    """Evaluation of checkpoints with one detector, dataset and set of evaluators.

    Args:
        detector: a `TwoStageDetector`.
        dataset: one pass over the images.
        evaluators: compute the metrics.
        categories: the classes.
        writer: writes metrics and images.
        options: see `EvaluationOptions`.
        report: writes a report of every checkpoint; None for no report.
        describe: see `example_issues.Describe`; None: issues of examples are counted only.
        num_examples: number of examples of the dataset, corrupt ones included; None: unknown.
        identity: text that differs if model or data do, so that an interrupted evaluation
            continues only on the same.
        infer: batch -> detections, of an exported model; None for those of `detector`.
    """

    def __init__(
        self,
        detector: Any,
        dataset: tf.data.Dataset,
        evaluators: Sequence[DetectionEvaluator],
        categories: Sequence[CategoryLike],
        writer: EvaluationWriter,
        options: EvaluationOptions,
        report: CheckpointReport | None = None,
        identity: str = "",
        describe: example_issues.Describe | None = None,
        num_examples: int | None = None,
        infer: Callable[[Tensors], Tensors] | None = None,
    ) -> None:
        self._detector = detector
        self._dataset = dataset
        self._evaluators = evaluators
        self._categories = categories
        self._writer = writer
        self._options = options
        self._report_writer = report
        self._identity = identity
        self._describe = describe
        self._num_examples = num_examples
        self._engine = options.engine
        self._infer = infer or make_infer_fn(
            detector, dataset.element_spec, compare=options.num_visualizations > 0
        )

    def evaluate(self, prefix: str) -> tuple[int, dict[str, float]]:
        """Evaluate one checkpoint; print and write its metrics.

        If an evaluation of this checkpoint was interrupted, its detections are used.

        Args:
            prefix: checkpoint prefix.

        Returns:
            The global step of the checkpoint, and TensorBoard name -> value.

        Raises:
            ValueError: the checkpoint belongs to another model or is corrupt.
        """
        step = checkpoint_contents.global_step_at(prefix)
        print(f"evaluating {prefix} (step {step})", flush=True)
        loading.load_detector_weights(
            self._detector, prefix, use_moving_averages=self._options.use_moving_averages
        )
        files = sorted(tf.io.gfile.glob(f"{prefix}.*"))
        version = "\n".join(describe_files(files))
        return step, self.evaluate_weights(step, prefix, version)

    def evaluate_weights(self, step: int, name: str, version: str) -> dict[str, float]:
        """Evaluate the present weights of the detector; print and write the metrics.

        Args:
            step: their global step, for the metrics.
            name: path or name of the weights.
            version: text that identifies the weights: an interrupted evaluation continues only on
                the same.

        Returns:
            TensorBoard name -> value.

        Raises:
            ValueError: an example cannot be used.
        """
        infer = self._infer_with_engine()
        journal = self._open_journal(version)
        figures: NamedImages = []
        drawn = 0

        collectors = [self._report_writer.collector] if self._report_writer else []

        issues = IssueLog(self._describe)
        following = 0

        def observe(number: int, batch: Tensors, detections: Tensors) -> None:
            nonlocal drawn, following
            if Batch.issues in batch:
                numbers = np.asarray(batch[Batch.example_number])
                skipped = example_issues.skipped_numbers(batch)
                issues.add(numbers, np.asarray(batch[Batch.issues]), skipped)
                following = int(numbers[-1]) + 1
            bar.update()
            for collector in collectors:
                collector.add_main_branches(detections)
            remaining = self._options.num_visualizations - drawn
            if remaining > 0:
                figures.extend(self._draw(number, batch, detections, remaining))
                drawn += len(batch[Batch.original_images])

        # Batches, since their number is known; -1 and -2 say that it is not.
        num_batches = int(self._dataset.cardinality())
        total = num_batches if num_batches >= 0 else None
        try:
            with tqdm(total=total, desc="evaluation", unit="batch", disable=None) as bar:
                result = evaluate_detections(
                    self._dataset,
                    journal.record(
                        infer,
                        is_needed=lambda: drawn < self._options.num_visualizations,
                        skip=frozenset([COMPARISONS]),
                    ),
                    [*self._evaluators, *collectors],
                    observe=observe,
                )
        except graph_errors.EXPLAINED as error:
            raise ValueError(f"the evaluation failed: {graph_errors.explain(error)}") from error
        finally:
            journal.close()
        if self._num_examples is not None:
            for number in range(following, self._num_examples):
                issues.add_skipped(number)
        self._report(step, name, result, figures, issues)
        journal.remove()
        return result.metrics

    def _open_journal(self, version: str) -> InferenceJournal:
        """Return the journal of the evaluation of some weights; say what it holds."""
        journal = InferenceJournal(
            os.path.join(self._writer.directory, _JOURNAL),
            f"{self._identity}\n{self._engine} {self._options}\n{version}",
        )
        if journal.num_recorded:
            print(
                f"an evaluation of this checkpoint was interrupted; it continues after "
                f"{journal.num_recorded} batches",
                flush=True,
            )
        return journal

    def _infer_with_engine(self) -> Callable[[Tensors], Tensors]:
        """Return the engine's function; other engines than TensorFlow hold weights as constants."""
        infer: Callable[[Tensors], Tensors] = self._infer
        if self._engine != TENSORFLOW:
            self._engine, converted = make_engine_infer_fn(
                self._detector, self._dataset, self._engine, self._options.precision
            )
            infer = self._infer if self._engine == TENSORFLOW else converted
        return infer

    def _draw(
        self, number: int, batch: Tensors, detections: Tensors, remaining: int
    ) -> Iterable[tuple[str, np.ndarray]]:
        yield from visualize_examples(
            batch,
            detections,
            self._categories,
            batch_number=number,
            max_images=remaining,
            min_score=self._options.min_score,
            max_boxes=self._options.max_boxes,
        )
        yield from draw_comparisons(
            batch,
            detections.get(COMPARISONS, {}),  # other engines have none
            self._categories,
            batch_number=number,
            max_images=remaining,
        )

    def _report(
        self,
        step: int,
        prefix: str,
        result: EvaluationResult,
        figures: NamedImages,
        issues: IssueLog,
    ) -> None:
        extra = {"checkpoint": prefix, **result.counters()}
        if issues.totals.any():
            extra |= dict(zip(example_issues.KEYS, issues.totals.tolist(), strict=True))
        path = self._writer.write(step, result.metrics, figures, extra)
        print(
            metrics_output.format_table(
                result.metrics, title=f"step {step}, {result.num_images} images"
            )
        )
        if issues.totals.any():
            print(issues.summary())
        print(f"written to {path}", flush=True)
        if self._report_writer:
            name = f"{prefix}, step {step}"
            events = os.path.join(output_paths.split_path(prefix)[0], "train")
            page, curves = self._report_writer.write(name, result.metrics, figures, events)
            self._writer.write_curves(step, curves)
            print(f"report written to {page}", flush=True)


def as_objects(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the batches with class 1 for every object; padding keeps class 0."""

    def name_object(batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {**batch, Groundtruth.classes: tf.minimum(batch[Groundtruth.classes], OBJECT.id)}

    return dataset.map(name_object)
