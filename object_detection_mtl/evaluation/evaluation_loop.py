"""Runs a detector over a data set and feeds what it finds to evaluators.

Shape letters: B batch, G padded ground-truth boxes, D detections (padded), H W an image.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from absl import logging

from object_detection_mtl import visualization
from object_detection_mtl.evaluation.evaluator import (
    CategoryLike,
    DetectionEvaluator,
    names_by_id,
)
from object_detection_mtl.fields import Batch, Detections, Groundtruth, Metrics

_INFINITE_CARDINALITY = -1  # of tf.data

# A batch or the detections of one: key -> tensor (anything np.asarray takes).
Tensors = Mapping[str, Any]


@dataclass(frozen=True)
class EvaluationResult:
    """What an evaluation found and how long it took."""

    metrics: dict[str, float]
    num_images: int
    num_groundtruth: int
    num_detections: int
    seconds: float  # detecting, all images
    metric_seconds: float  # turning detections into metrics

    @property
    def images_per_second(self) -> float:
        return self.num_images / self.seconds if self.seconds > 0 else 0.0

    def counters(self) -> dict[str, float]:
        """The counters by name, for a report."""
        return {
            "num_images": self.num_images,
            "num_groundtruth": self.num_groundtruth,
            "num_detections": self.num_detections,
            "seconds": round(self.seconds, 3),
            "metric_seconds": round(self.metric_seconds, 3),
            "images_per_second": round(self.images_per_second, 3),
        }


@dataclass(frozen=True)
class _Image:
    """One image of a batch, boxes in pixels of the original image, classes 1-based."""

    image_id: str
    groundtruth_boxes: np.ndarray  # [G, 4]
    groundtruth_classes: np.ndarray  # [G]
    flags: dict[str, np.ndarray]  # difficult, is_crowd, group_of, area: [G], as far as known
    boxes: np.ndarray  # [D, 4]
    scores: np.ndarray  # [D]
    classes: np.ndarray  # [D]


_FLAGS = {
    "difficult": Groundtruth.difficult,
    "is_crowd": Groundtruth.is_crowd,
    "group_of": Groundtruth.group_of,
    "area": Groundtruth.area,
}


def _text(image_id: Any) -> str:
    return image_id.decode("utf-8", "replace") if isinstance(image_id, bytes) else str(image_id)


def _read(tensors: Tensors, names: Iterable[str], source: str) -> dict[str, np.ndarray]:
    """The named tensors as arrays."""
    names = list(names)
    missing = [name for name in names if name not in tensors]
    if missing:
        raise KeyError(f"{source} lacks {missing}; it has {sorted(tensors)}.")
    return {name: np.asarray(tensors[name]) for name in names}


def _images(batch: Tensors, detections: Tensors) -> Iterator[_Image]:
    """The images of a batch, without padding."""
    flags = {name: key for name, key in _FLAGS.items() if key in batch}
    needed = [Batch.image_id, Batch.original_image_shapes]
    needed += [Groundtruth.boxes, Groundtruth.classes, Groundtruth.num_boxes, *flags.values()]
    truth = _read(batch, needed, "The batch")
    needed = [Detections.boxes, Detections.scores, Detections.classes, Detections.num_detections]
    found = _read(detections, needed, "The dictionary of detections")
    for i, image_id in enumerate(truth[Batch.image_id]):
        height, width = truth[Batch.original_image_shapes][i][:2]
        scale = np.array([height, width, height, width], dtype=np.float32)
        num_truth = int(truth[Groundtruth.num_boxes][i])
        num_found = int(found[Detections.num_detections][i])
        yield _Image(
            image_id=_text(image_id),
            groundtruth_boxes=truth[Groundtruth.boxes][i, :num_truth] * scale,
            groundtruth_classes=truth[Groundtruth.classes][i, :num_truth],
            flags={name: truth[key][i, :num_truth] for name, key in flags.items()},
            boxes=found[Detections.boxes][i, :num_found] * scale,
            scores=found[Detections.scores][i, :num_found],
            classes=found[Detections.classes][i, :num_found].astype(np.int64) + 1,
        )


class _UniqueNames:
    """Gives every image a name of its own: records often have none, or the same one twice."""

    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._warned = False

    def __call__(self, image_id: str) -> str:
        name = image_id
        if not name or name in self._seen:
            if not self._warned:
                logging.warning(
                    "Image id %r is empty or stands in several records; all of them are evaluated, "
                    "as images of their own.",
                    image_id,
                )
                self._warned = True
            number = len(self._seen)
            while (name := f"{image_id}#{number}") in self._seen:
                number += 1
        self._seen.add(name)
        return name


class _Means:
    """Means of the numbers that come with the detections.

    Of 'Loss/...', which is a mean over a batch, over the images; of 'mtl/...', which is a sum and
    what to divide it by, over whatever it counts.
    """

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._counts: dict[str, float] = {}

    def add(self, detections: Tensors, num_images: int) -> None:
        for name, value in detections.items():
            if name.startswith("Loss/"):
                self._add(name, float(value) * num_images, num_images)
            elif name.startswith(Metrics.prefix):
                self._add(name, float(value[0]), float(value[1]))

    def _add(self, name: str, total: float, count: float) -> None:
        self._sums[name] = self._sums.get(name, 0.0) + total
        self._counts[name] = self._counts.get(name, 0.0) + count

    def means(self) -> dict[str, float]:
        """What was never counted is left out."""
        sums = self._sums.items()
        return {name: total / self._counts[name] for name, total in sums if self._counts[name]}


def evaluate_detections(
    dataset: Iterable[Tensors],
    infer_fn: Callable[[Tensors], Tensors],
    evaluators: Sequence[DetectionEvaluator],
    *,
    num_examples: int | None = None,
    progress: Callable[[int], None] | None = None,
    observe: Callable[[int, Tensors, Tensors], None] | None = None,
) -> EvaluationResult:
    """Detects in every image of `dataset` and evaluates what was found.

    Args:
      dataset: batches of the input pipeline, keys as in `fields.Batch` and `fields.Groundtruth`.
        Read once to its end.
      infer_fn: batch -> detections as `detector.postprocess` returns them: `detection_boxes`
        [B, D, 4] normalised to the true image, `detection_scores` [B, D], 0-based
        `detection_classes` [B, D], `num_detections` [B]. Scalars named 'Loss/...' may stand beside
        them (means over the batch); their mean over all images joins the metrics.
      evaluators: fed with absolute boxes and 1-based classes. They are cleared first.
      num_examples: at most so many images; None or 0 for all.
      progress: called after each batch with the number of images done.
      observe: called with (number of the batch, batch, detections), for drawing or keeping them.

    Returns:
      The metrics of all evaluators in one dictionary, and counters.

    Raises:
      ValueError: the data set never ends and `num_examples` sets no end; a ground-truth class is
        outside the categories; boxes or scores are not finite.
      KeyError: the batch or the detections lack a key.
    """
    cardinality = getattr(dataset, "cardinality", None)
    if not num_examples and cardinality and int(cardinality()) == _INFINITE_CARDINALITY:
        raise ValueError(
            "The data set repeats for ever; evaluation needs one that ends, or num_examples."
        )
    for evaluator in evaluators:
        evaluator.clear()
    unique, means = _UniqueNames(), _Means()
    num_images = num_groundtruth = num_detections = 0
    start = time.perf_counter()
    for number, batch in enumerate(dataset):
        detections = infer_fn(batch)
        images = list(_images(batch, detections))
        if num_examples:
            images = images[: num_examples - num_images]
        for image in images:
            _feed(evaluators, unique(image.image_id), image)
            num_groundtruth += len(image.groundtruth_boxes)
            num_detections += len(image.boxes)
        means.add(detections, len(images))
        num_images += len(images)
        if observe:
            observe(number, batch, detections)
        if progress:
            progress(num_images)
        if num_examples and num_images >= num_examples:
            break
    detected = time.perf_counter()
    metrics: dict[str, float] = {}
    for evaluator in evaluators:
        metrics.update(evaluator.evaluate())
    metrics.update(means.means())
    return EvaluationResult(
        metrics=metrics,
        num_images=num_images,
        num_groundtruth=num_groundtruth,
        num_detections=num_detections,
        seconds=detected - start,
        metric_seconds=time.perf_counter() - detected,
    )


def _feed(evaluators: Sequence[DetectionEvaluator], image_id: str, image: _Image) -> None:
    for evaluator in evaluators:
        evaluator.add_groundtruth(
            image_id, image.groundtruth_boxes, image.groundtruth_classes, **image.flags
        )
        evaluator.add_detections(image_id, image.boxes, image.scores, image.classes)


def visualize_examples(
    batch: Tensors,
    detections: Tensors,
    categories: Sequence[CategoryLike],
    *,
    batch_number: int = 0,
    max_images: int | None = None,
    min_score: float = 0.5,
    max_boxes: int | None = 20,
) -> Iterator[tuple[str, np.ndarray]]:
    """Draws the images of a batch, detections on the left and ground truth on the right.

    Meant for the `observe` argument of `evaluate_detections`; with a running count of images it
    draws the first `num_visualizations`.

    Args:
      batch: of a data set with `original_images` [B, H, W, 3] uint8 (padded; the true size is in
        `original_image_shapes`).
      detections: as in `evaluate_detections`.
      categories: for the class names.
      batch_number: i of the tag.
      max_images: at most so many of this batch; None for all.
      min_score, max_boxes: of the detections drawn.

    Yields:
      ('eval_side_by_side_<i>_<j>', picture [h, w, 3] uint8), j the place in the batch.
    """
    needed = [Batch.original_images, Batch.original_image_shapes]
    needed += [Groundtruth.boxes, Groundtruth.classes, Groundtruth.num_boxes]
    truth = _read(batch, needed, "The batch")
    needed = [Detections.boxes, Detections.scores, Detections.classes, Detections.num_detections]
    found = _read(detections, needed, "The dictionary of detections")
    names = names_by_id(categories)
    for j in range(len(truth[Batch.original_images]))[:max_images]:
        height, width = truth[Batch.original_image_shapes][j][:2]
        image = truth[Batch.original_images][j, :height, :width]
        count = int(found[Detections.num_detections][j])
        left = visualization.draw_boxes(
            image,
            found[Detections.boxes][j, :count],
            found[Detections.classes][j, :count].astype(np.int64) + 1,
            found[Detections.scores][j, :count],
            names=names,
            min_score=min_score,
            max_boxes=max_boxes,
        )
        count = int(truth[Groundtruth.num_boxes][j])
        right = visualization.draw_boxes(
            image,
            truth[Groundtruth.boxes][j, :count],
            truth[Groundtruth.classes][j, :count],
            names=names,
            max_boxes=None,
        )
        picture = visualization.side_by_side([left, right], titles=["detections", "ground truth"])
        yield f"eval_side_by_side_{batch_number}_{j}", picture
