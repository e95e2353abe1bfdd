"""Evaluation loop: detect in every image of a dataset, compute metrics.

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
_MAX_ID = 80  # characters of an image id in a message

# A batch or the detections of one: key -> tensor (anything np.asarray takes).
Tensors = Mapping[str, Any]


@dataclass(frozen=True)
class EvaluationResult:
    """Metrics, counts and times of an evaluation.

    Attributes:
        metrics: name -> value.
        num_images: images evaluated.
        num_groundtruth: their ground-truth boxes.
        num_detections: their detections.
        seconds: time of detection, all images.
        metric_seconds: time of computing the metrics from the detections.
    """

    metrics: dict[str, float]
    num_images: int
    num_groundtruth: int
    num_detections: int
    seconds: float
    metric_seconds: float

    @property
    def images_per_second(self) -> float:
        """Return the throughput of detection."""
        return self.num_images / self.seconds if self.seconds > 0 else 0.0

    def counters(self) -> dict[str, float]:
        """Return counts and times by name, for a report."""
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
    """One image of a batch: boxes in pixels of the original image, 1-based classes."""

    image_id: str
    groundtruth_boxes: np.ndarray  # [G, 4]
    groundtruth_classes: np.ndarray  # [G]
    # difficult, is_crowd, group_of, area: [G], and image_classes [V]; those in the batch
    flags: dict[str, np.ndarray]
    boxes: np.ndarray  # [D, 4]
    scores: np.ndarray  # [D]
    classes: np.ndarray  # [D]


_FLAGS = {
    "difficult": Groundtruth.difficult,
    "is_crowd": Groundtruth.is_crowd,
    "group_of": Groundtruth.group_of,
    "area": Groundtruth.area,
}


def _decode_id(image_id: Any) -> str:
    return image_id.decode("utf-8", "replace") if isinstance(image_id, bytes) else str(image_id)


def _arrays(tensors: Tensors, names: Iterable[str], source: str) -> dict[str, np.ndarray]:
    """Return the named tensors as arrays."""
    names = list(names)
    missing = [name for name in names if name not in tensors]
    if missing:
        raise KeyError(f"{source}: missing keys {missing}; it has {sorted(tensors)}")
    return {name: np.asarray(tensors[name]) for name in names}


def _images(batch: Tensors, detections: Tensors) -> Iterator[_Image]:
    """Yield the images of a batch, without padding."""
    flags = {name: key for name, key in _FLAGS.items() if key in batch}
    needed = [Batch.image_id, Batch.original_image_shapes]
    needed += [Groundtruth.boxes, Groundtruth.classes, Groundtruth.num_boxes, *flags.values()]
    truth = _arrays(batch, needed, "the batch")
    needed = [Detections.boxes, Detections.scores, Detections.classes, Detections.num_detections]
    found = _arrays(detections, needed, "the detections")
    for i, image_id in enumerate(truth[Batch.image_id]):
        height, width = truth[Batch.original_image_shapes][i][:2]
        scale = np.array([height, width, height, width], dtype=np.float32)
        num_truth = int(truth[Groundtruth.num_boxes][i])
        listed = {}
        if Groundtruth.image_classes in batch:
            numbers = np.asarray(batch[Groundtruth.image_classes][i])
            listed["image_classes"] = numbers[numbers > 0]
        num_found = int(found[Detections.num_detections][i])
        yield _Image(
            image_id=_decode_id(image_id),
            groundtruth_boxes=truth[Groundtruth.boxes][i, :num_truth] * scale,
            groundtruth_classes=truth[Groundtruth.classes][i, :num_truth],
            flags={name: truth[key][i, :num_truth] for name, key in flags.items()} | listed,
            boxes=found[Detections.boxes][i, :num_found] * scale,
            scores=found[Detections.scores][i, :num_found],
            classes=found[Detections.classes][i, :num_found].astype(np.int64) + 1,
        )


class _UniqueImageIds:
    """Generator of unique image ids: records may have an empty id, or the same id twice."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._made: set[str] = set()
        self._num_empty = self._num_repeated = 0
        self._first_repeated = ""

    def __call__(self, image_id: str) -> str:
        if not image_id:
            self._num_empty += 1
        elif image_id in self._given:
            self._num_repeated += 1
            self._first_repeated = self._first_repeated or image_id
        elif image_id not in self._made:
            self._given.add(image_id)
            return image_id
        self._given.add(image_id)
        number = len(self._given) + len(self._made)
        while (name := f"{image_id}#{number}") in self._given or name in self._made:
            number += 1
        self._made.add(name)
        return name

    def report(self) -> None:
        """Log how many records have no id of their own."""
        parts = []
        if self._num_repeated:
            records = "record repeats" if self._num_repeated == 1 else "records repeat"
            first = self._first_repeated[:_MAX_ID]
            parts.append(
                f"{self._num_repeated} {records} the image id of an earlier one, the first "
                f"{first!r}"
            )
        if self._num_empty:
            records = "record has" if self._num_empty == 1 else "records have"
            parts.append(f"{self._num_empty} {records} no image id")
        if parts:
            logging.warning(
                "%s; each record is evaluated as an image of its own", " and ".join(parts)
            )


class _Means:
    """Means over all batches of the losses and task metrics that accompany the detections.

    'Loss/...' is a mean over a batch and is averaged over images; 'mtl/...' is a pair (sum,
    count).
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
        """Return the means by name, without those whose count is 0."""
        sums = self._sums.items()
        return {name: total / self._counts[name] for name, total in sums if self._counts[name]}


def evaluate_detections(
    dataset: Iterable[Tensors],
    infer_fn: Callable[[Tensors], Tensors],
    evaluators: Sequence[DetectionEvaluator],
    *,
    progress: Callable[[int], None] | None = None,
    observe: Callable[[int, Tensors, Tensors], None] | None = None,
) -> EvaluationResult:
    """Detect in every image of `dataset` and evaluate the detections.

    Args:
        dataset: batches of the input pipeline, keys as in `fields.Batch` and `fields.Groundtruth`.
            It is read once.
        infer_fn: batch -> detections as `detector.postprocess` returns them: `detection_boxes`
            [B, D, 4] normalized to the true image, `detection_scores` [B, D], 0-based
            `detection_classes` [B, D], `num_detections` [B]. It may add scalars named 'Loss/...'
            (means over the batch); their mean over all images is added to the metrics.
        evaluators: they get absolute boxes and 1-based classes, and are cleared first.
        progress: called after each batch with the number of images done.
        observe: called with (batch number, batch, detections), to draw or store them.

    Returns:
        The metrics of all evaluators in one dictionary, counts and times.

    Raises:
        ValueError: the dataset is infinite; a ground-truth class is not a category; boxes or
            scores are not finite.
        KeyError: the batch or the detections lack a key.
    """
    cardinality = getattr(dataset, "cardinality", None)
    if cardinality and int(cardinality()) == _INFINITE_CARDINALITY:
        raise ValueError("the dataset is infinite; expected a finite dataset. Remove repeat()")
    for evaluator in evaluators:
        evaluator.clear()
    unique, means = _UniqueImageIds(), _Means()
    num_images = num_groundtruth = num_detections = 0
    start = time.perf_counter()
    for number, batch in enumerate(dataset):
        detections = infer_fn(batch)
        images = list(_images(batch, detections))
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
    unique.report()
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
    """Draw the images of a batch, detections on the left and ground truth on the right.

    Use it in the `observe` argument of `evaluate_detections`.

    Args:
        batch: with `original_images` [B, H, W, 3] uint8 (padded; the true size is in
            `original_image_shapes`).
        detections: as in `evaluate_detections`.
        categories: for the class names.
        batch_number: i of the tag.
        max_images: maximum number of images of this batch; None for all.
        min_score: detections with a lower score are not drawn.
        max_boxes: maximum number of detections per image; None for all.

    Yields:
        ('eval_side_by_side_<i>_<j>', image [h, w, 3] uint8), j the index in the batch.
    """
    needed = [Batch.original_images, Batch.original_image_shapes]
    needed += [Groundtruth.boxes, Groundtruth.classes, Groundtruth.num_boxes]
    truth = _arrays(batch, needed, "the batch")
    needed = [Detections.boxes, Detections.scores, Detections.classes, Detections.num_detections]
    found = _arrays(detections, needed, "the detections")
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
        pair = visualization.side_by_side([left, right], titles=["detections", "ground truth"])
        yield f"eval_side_by_side_{batch_number}_{j}", pair
