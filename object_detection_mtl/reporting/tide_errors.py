"""TIDE's six kinds of errors and the mAP that each costs (Bolya et al., ECCV 2020).

The definitions differ from those of `evaluation.error_analysis`, which are the MTL-SSL paper's:
detections of every score are classified, and the weight of a kind is the mAP that a detector
without errors of this kind would gain. At IoU 0.5, with background below IoU 0.1:

* Cls: an object of another class is overlapped enough.
* Loc: an object of the same class is overlapped too little, but more than background.
* Both: neither class nor location is right.
* Dupe: the object was found with a greater score.
* Bkg: no object is overlapped.
* Miss: an object that no detection found, and that no corrected Cls or Loc error would find.

Crowds, groups and difficult objects are regions in which unmatched detections are ignored. At most
100 detections of an image count. AP is the mean precision at 101 recall points. A class with
detections but without objects has AP 0 and is included in the mean.

Shape letters: N detections of all images, M objects, E errors, D and G those of one image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage

CLS, LOC, BOTH, DUPE, BKG, MISS = "Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"
TIDE_KINDS = (CLS, LOC, BOTH, DUPE, BKG, MISS)
MAX_DETECTIONS = 100

_TRUE, _FALSE, _IGNORED = 1, 0, -1
_RECALLS = np.arange(101) / 100


@dataclass(frozen=True)
class TideErrors:
    """Cost of each kind of error.

    Attributes:
        mean_ap: mAP of the detections, in [0, 1]; NaN without objects and detections.
        costs: kind -> mAP that is gained where errors of this kind alone are corrected, at least 0.
        counts: kind -> number of errors.
    """

    mean_ap: float
    costs: dict[str, float]
    counts: dict[str, int]


@dataclass(frozen=True)
class _Sorted:
    """Detections of all images by image and score, with outcomes and targets.

    Attributes:
        classes, scores: [N].
        outcomes: [N] _TRUE, _FALSE or _IGNORED.
        kinds: [N] index into TIDE_KINDS, -1 for true positives.
        targets: [N] the object that a Cls or Loc error would find, -1 for none.
        object_classes: [M] of the objects that are not ignored.
        used: [M] bool, found by a true positive.
    """

    classes: np.ndarray
    scores: np.ndarray
    outcomes: np.ndarray
    kinds: np.ndarray
    targets: np.ndarray
    object_classes: np.ndarray
    used: np.ndarray


def tide_errors(
    images: Sequence[EvaluatedImage],
    *,
    iou_threshold: float = 0.5,
    background_iou_threshold: float = 0.1,
) -> TideErrors:
    """Return the costs of the six kinds over all images."""
    found = _sort_images(images, iou_threshold, background_iou_threshold)
    corrected = _corrected(found)
    missed = ~found.used
    missed[found.targets[found.targets >= 0]] = False
    counts = {
        kind: int(np.count_nonzero(found.kinds == index)) for index, kind in enumerate(TIDE_KINDS)
    }
    counts[MISS] = int(np.count_nonzero(missed))
    true = found.outcomes == _TRUE
    errors = ~true
    kept = found.outcomes == _FALSE
    size = int(max([0, *found.classes, *found.object_classes])) + 1
    positives = np.bincount(found.object_classes, minlength=size)
    shown = found.outcomes != _IGNORED
    mean_ap = _mean_ap(found.classes[shown], found.scores[shown], true[shown], positives)
    costs = {}
    for index, kind in enumerate(TIDE_KINDS):
        chosen = errors & (found.kinds == index)
        repaired = chosen & corrected
        rows = np.flatnonzero(errors & np.where(chosen, repaired, kept))
        classes = np.where(repaired, _target_classes(found), found.classes)
        # Corrected errors come before true positives of the same score, as in the reference.
        order = np.concatenate([rows, np.flatnonzero(true)])
        asked = positives
        if kind == MISS:
            asked = positives - np.bincount(found.object_classes[missed], minlength=size)
        value = _mean_ap(classes[order], found.scores[order], (true | repaired)[order], asked)
        costs[kind] = float(max(value - mean_ap, 0.0)) if np.isfinite(mean_ap + value) else 0.0
    return TideErrors(mean_ap, costs, counts)


def _target_classes(found: _Sorted) -> np.ndarray:
    """Return the class [N] of each target; the detection's own class without target."""
    classes = np.append(found.object_classes, 0)[found.targets]
    return np.where(found.targets >= 0, classes, found.classes)


def _corrected(found: _Sorted) -> np.ndarray:
    """Return which errors [N] become true positives: the first of the greatest score per object."""
    corrected = np.zeros(len(found.scores), bool)
    rows = np.flatnonzero(found.targets >= 0)
    rows = rows[~found.used[found.targets[rows]]]
    order = rows[np.argsort(-found.scores[rows], kind="stable")]
    _, first = np.unique(found.targets[order], return_index=True)
    corrected[order[first]] = True
    return corrected


def _mean_ap(
    classes: np.ndarray, scores: np.ndarray, hits: np.ndarray, positives: np.ndarray
) -> float:
    """Return the mean over the classes with detections or objects; NaN without such a class."""
    order = np.argsort(-scores, kind="stable")
    order = order[np.argsort(classes[order], kind="stable")]
    size = len(positives)
    starts = np.searchsorted(classes[order], np.arange(size + 1))
    values = []
    for class_id in range(size):
        rows = order[starts[class_id] : starts[class_id + 1]]
        if len(rows) or positives[class_id]:
            values.append(_sampled_ap(hits[rows], int(positives[class_id])))
    return float(np.mean(values)) if values else float("nan")


def _sampled_ap(hits: np.ndarray, num_objects: int) -> float:
    """Return the mean precision at 101 recall points of detections, best score first."""
    if not num_objects or not len(hits):
        return 0.0
    true = np.cumsum(hits)
    precision = true / np.arange(1, len(hits) + 1)
    envelope = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return float(envelope[np.searchsorted(true / num_objects, _RECALLS)].mean())


def _sort_images(
    images: Sequence[EvaluatedImage], iou_threshold: float, background: float
) -> _Sorted:
    parts: list[tuple[np.ndarray, ...]] = []
    object_parts: list[tuple[np.ndarray, np.ndarray]] = []
    num_objects = 0
    for image in images:
        truth = image.groundtruth
        ignored = truth.difficult | truth.is_crowd | truth.group_of
        order = np.argsort(-image.detections.scores, kind="stable")[:MAX_DETECTIONS]
        found = image.detections.rows(order)
        boxes, classes = truth.boxes[~ignored], truth.classes[~ignored]
        own_class = found.classes[:, np.newaxis] == classes
        overlap = box_overlaps.iou(found.boxes, boxes)
        matched, used = _greedy(np.where(own_class, overlap, 0.0), iou_threshold)
        outcomes = np.where(matched, _TRUE, _FALSE)
        inside = box_overlaps.covered_fraction(found.boxes, truth.boxes[ignored])
        inside[found.classes[:, np.newaxis] != truth.classes[ignored]] = 0.0
        outcomes[~matched & (inside > iou_threshold).any(axis=1)] = _IGNORED
        kinds, targets = _sort_errors(overlap, own_class, used, iou_threshold, background)
        kinds[matched], targets[matched] = -1, -1
        targets[targets >= 0] += num_objects
        parts.append((found.classes, found.scores, outcomes, kinds, targets))
        object_parts.append((classes, used))
        num_objects += len(classes)
    integers, floats = np.zeros(0, np.int64), np.zeros(0)
    parts.append((integers, floats, integers, integers, integers))
    object_parts.append((integers, np.zeros(0, bool)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    object_columns = [np.concatenate(column) for column in zip(*object_parts, strict=True)]
    return _Sorted(*columns, *object_columns)


def _greedy(overlap: np.ndarray, iou_threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which rows [D], best score first, find a free column, and which columns [G] do."""
    matched = np.zeros(overlap.shape[0], bool)
    used = np.zeros(overlap.shape[1], bool)
    for row in np.flatnonzero((overlap >= iou_threshold).any(axis=1)):
        values = np.where(used, 0.0, overlap[row])
        best = int(np.argmax(values))
        if values[best] >= iou_threshold:
            matched[row] = used[best] = True
    return matched, used


def _sort_errors(
    overlap: np.ndarray,
    own_class: np.ndarray,
    used: np.ndarray,
    iou_threshold: float,
    background: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return kind and target [D] of every detection as if it were an error."""
    count = len(overlap)
    if not overlap.shape[1]:
        return np.full(count, TIDE_KINDS.index(BKG)), np.full(count, -1)
    rows = np.arange(count)
    own = np.where(own_class, overlap, 0.0)
    other = np.where(own_class, 0.0, overlap)
    best_own, best_other = own.argmax(axis=1), other.argmax(axis=1)
    own_value = own[rows, best_own]
    is_loc = (own_value >= background) & (own_value <= iou_threshold)
    is_cls = other[rows, best_other] >= iou_threshold
    is_dupe = np.where(used, own, 0.0).max(axis=1) >= iou_threshold
    is_bkg = overlap.max(axis=1) <= background
    kinds = np.select(
        [is_loc, is_cls, is_dupe, is_bkg],
        [TIDE_KINDS.index(kind) for kind in (LOC, CLS, DUPE, BKG)],
        default=TIDE_KINDS.index(BOTH),
    )
    targets = np.select([is_loc, is_cls], [best_own, best_other], default=-1)
    return kinds, targets
