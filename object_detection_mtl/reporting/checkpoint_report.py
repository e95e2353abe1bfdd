"""Report of an evaluated checkpoint, collected during the evaluation.

Shape letters: B batch, D detections of one image.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from object_detection_mtl.config.label_map import Category
from object_detection_mtl.data.image_files import encode_png
from object_detection_mtl.evaluation.evaluator import DetectionEvaluator
from object_detection_mtl.evaluation.metrics_output import PrecisionRecallCounts
from object_detection_mtl.fields import Detections
from object_detection_mtl.reporting import html_report, record_examples
from object_detection_mtl.reporting.evaluated_images import (
    EvaluatedImage,
    EvaluationSet,
    MainBranch,
)
from object_detection_mtl.reporting.loss_curves import read_loss_curves
from object_detection_mtl.reporting.report_contents import (
    IOU_THRESHOLDS,
    SCORE_GRID,
    ReportOptions,
    report_contents,
)
from object_detection_mtl.reporting.score_curves import counts_at_thresholds

# Figures of auxiliary predictions on the page: so many, and so many bytes of PNG files together.
_MAX_FIGURES = 12
_MAX_FIGURE_BYTES = 4_000_000
_AUXILIARY_FIGURE = "eval_auxiliary"


class DetectionCollector(DetectionEvaluator):
    """Evaluator without metrics that keeps images with their detections."""

    def clear(self) -> None:
        """Remove all images."""
        super().clear()
        self._known: dict[Hashable, np.ndarray] = {}
        self._branches: list[MainBranch | None] = []

    def add_detections(self, image_id: Hashable, boxes: Any, scores: Any, classes: Any) -> None:
        """Add the detections of an image; see `DetectionEvaluator.add_detections`."""
        super().add_detections(image_id, boxes, scores, classes)
        self._known[image_id] = np.isin(np.asarray(classes).astype(np.int64), self._known_ids)

    def add_main_branches(self, detections: Mapping[str, Any]) -> None:
        """Add the predictions of the main class head for the last added images.

        Args:
            detections: detections of a batch, [B, D, ...]; without `fields.Detections.main_scores`
                nothing is added.
        """
        if Detections.main_scores not in detections:
            return
        scores = np.asarray(detections[Detections.main_scores])
        classes = np.asarray(detections[Detections.main_classes]).astype(np.int64) + 1
        counts = np.asarray(detections[Detections.num_detections]).astype(int)
        # An evaluation may end inside of a batch.
        missing = self.num_images - len(self._branches)
        for row in range(min(len(counts), missing)):
            count = counts[row]
            self._branches.append(MainBranch(classes[row, :count], scores[row, :count]))

    def evaluate(self) -> dict[str, float]:
        """Return no metrics."""
        return {}

    def evaluation_set(
        self,
        name: str,
        categories: Sequence[Category],
        sources: Mapping[str, record_examples.StoredImage],
    ) -> EvaluationSet:
        """Return the images added so far.

        Args:
            name: name of the detector.
            categories: the classes.
            sources: image id -> where its size and its pixels are.
        """
        images = []
        for number, (key, (truth, found)) in enumerate(
            zip(self._groundtruth, self._images(), strict=True)
        ):
            source = sources.get(str(key))
            branch = self._branches[number] if number < len(self._branches) else None
            if branch is not None:
                known = self._known[key]
                branch = MainBranch(branch.classes[known], branch.scores[known])
            images.append(
                EvaluatedImage(
                    str(key),
                    truth,
                    found,
                    height=source.height if source else None,
                    width=source.width if source else None,
                    read_bytes=source.read_bytes if source else None,
                    main_branch=branch,
                )
            )
        return EvaluationSet(name, categories, images)


@dataclasses.dataclass(frozen=True)
class CheckpointReport:
    """Report of an evaluated checkpoint: its directory, images and options.

    Attributes:
        directory: directory of the report.
        categories: the classes.
        record_patterns: patterns of the evaluated record files, for sizes and thumbnails.
        options: options of the report.
        collector: collects images and detections during the evaluation.
    """

    directory: Path
    categories: Sequence[Category]
    record_patterns: Sequence[str]
    options: ReportOptions
    collector: DetectionCollector

    def write(
        self,
        name: str,
        metrics: Mapping[str, float],
        figures: Iterable[tuple[str, np.ndarray]],
        train_events: str | Path = "",
    ) -> tuple[Path, dict[str, PrecisionRecallCounts]]:
        """Write the report of the collected images.

        Returns:
            The path of the page; and class name -> curve at IoU 0.5, of classes with objects.

        Args:
            name: name of the checkpoint.
            metrics: metrics of the evaluation; losses and metrics of auxiliary tasks are shown.
            figures: (TensorBoard name, image [h, w, 3] uint8) of the evaluation; those of
                auxiliary predictions join the page.
            train_events: directory of the events of the training, whose losses join the page; it
                need not exist.
        """
        sources = record_examples.image_sources(self.record_patterns)
        evaluation = self.collector.evaluation_set(name, self.categories, sources)
        more = {k: v for k, v in metrics.items() if k.startswith(("Loss/", "mtl/"))}
        contents = report_contents(
            evaluation,
            self.options,
            figures=_auxiliary_figures(figures),
            more_metrics=more,
            loss_curves=read_loss_curves(train_events) if train_events else {},
        )
        curves = {
            item.name: PrecisionRecallCounts(
                *counts_at_thresholds(item.curves[IOU_THRESHOLDS[0]], SCORE_GRID)
            )
            for item in contents.classes
            if item.num_objects
        }
        return html_report.write_report(contents, self.directory), curves


@dataclasses.dataclass(frozen=True)
class ReportRequest:
    """Request for a report whose dataset is not known yet.

    Attributes:
        directory: directory of the report.
        options: options of the report.
    """

    directory: str
    options: ReportOptions = ReportOptions()

    def of_records(
        self, categories: Sequence[Category], record_patterns: Sequence[str]
    ) -> CheckpointReport:
        """Return the report of the images of record files."""
        collector = DetectionCollector(categories)
        return CheckpointReport(
            Path(self.directory), categories, list(record_patterns), self.options, collector
        )


def _auxiliary_figures(figures: Iterable[tuple[str, np.ndarray]]) -> dict[str, bytes]:
    """Return the first figures of auxiliary predictions as PNG files."""
    found: dict[str, bytes] = {}
    size = 0
    for name, pixels in figures:
        if not name.startswith(_AUXILIARY_FIGURE) or len(found) == _MAX_FIGURES:
            continue
        data = encode_png(pixels)
        size += len(data)
        if size > _MAX_FIGURE_BYTES:
            break
        batch, image = name.removeprefix(f"{_AUXILIARY_FIGURE}_").split("_")
        found[f"auxiliary predictions: image {image} of batch {batch}"] = data
    return found
