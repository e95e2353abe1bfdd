"""COCO detection metrics by pycocotools, under the names of the OD API.

Two deliberate differences from the OD API: object sizes (small, medium, large) are those of the
annotated area where the records have one, as on the COCO server; the OD API uses the area of the
box. Metrics by category need only the published pycocotools; the OD API needs a patched one.

Shape letters: T IoU thresholds, R recall points, K categories with objects, A size ranges, M limits
of the number of detections (pycocotools' own axes).
"""

import contextlib
import importlib.util
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from object_detection_mtl import optional_packages
from object_detection_mtl.evaluation import box_overlaps
from object_detection_mtl.evaluation.evaluator import CategoryLike, DetectionEvaluator

PREFIX = "DetectionBoxes_"

# In the order of pycocotools' `COCOeval.stats`.
SUMMARY_NAMES = (
    "Precision/mAP",
    "Precision/mAP@.50IOU",
    "Precision/mAP@.75IOU",
    "Precision/mAP (small)",
    "Precision/mAP (medium)",
    "Precision/mAP (large)",
    "Recall/AR@1",
    "Recall/AR@10",
    "Recall/AR@100",
    "Recall/AR@100 (small)",
    "Recall/AR@100 (medium)",
    "Recall/AR@100 (large)",
)

# The value that pycocotools reports for a metric without objects.
NOTHING = -1.0

# pycocotools is the reference; faster_coco_eval gives the same numbers in less time.
PYCOCOTOOLS = "pycocotools"
FASTER_COCO_EVAL = "faster_coco_eval"
BACKENDS = (PYCOCOTOOLS, FASTER_COCO_EVAL)


class _OneCategory(COCOeval):
    """COCOeval of one category: the same numbers, computed faster.

    Images without objects, which are most images of most categories, need no matching, and curves
    need no Python loop over detections.
    """

    def evaluate(self) -> None:
        """Match all images; see `COCOeval.evaluate`."""
        self._ranked: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        super().evaluate()

    def evaluateImg(self, imgId: int, catId: int, aRng: list, maxDet: int) -> dict | None:  # noqa: N802, N803
        """Match one image; see `COCOeval.evaluateImg`."""
        if self._gts[imgId, catId]:
            return super().evaluateImg(imgId, catId, aRng, maxDet)
        if imgId not in self._ranked:
            found = self._dts[imgId, catId]
            scores = np.array([d["score"] for d in found])
            order = np.argsort(-scores, kind="mergesort")
            self._ranked[imgId] = scores[order], np.array([d["area"] for d in found])[order]
        scores, areas = self._ranked[imgId]
        shape = (len(self.params.iouThrs), len(scores))
        ignored = np.empty(shape, dtype=bool)
        ignored[:] = (areas < aRng[0]) | (areas > aRng[1])
        return {
            "dtMatches": np.zeros(shape),
            "dtScores": scores,
            "dtIgnore": ignored,
            "gtIgnore": np.zeros(0),
        }

    def accumulate(self, p: Any = None) -> None:
        """Compute precision and recall arrays; see `COCOeval.accumulate`."""
        params = self.params if p is None else p
        num_images, num_recalls = len(params.imgIds), len(params.recThrs)
        shape = (len(params.iouThrs), 1, len(params.areaRng), len(params.maxDets))
        precision = np.full((shape[0], num_recalls, *shape[1:]), NOTHING)
        recall = np.full(shape, NOTHING)
        for a in range(len(params.areaRng)):
            results = self.evalImgs[a * num_images : (a + 1) * num_images]
            results = [result for result in results if result is not None]
            num_objects = sum(np.count_nonzero(result["gtIgnore"] == 0) for result in results)
            for m, limit in enumerate(params.maxDets if num_objects else []):
                found, missed = _ranked_outcomes(results, limit)
                reached = found / num_objects
                exact = found / (found + missed + np.spacing(1))
                envelope = np.maximum.accumulate(exact[:, ::-1], axis=1)[:, ::-1]
                recall[:, 0, a, m] = reached[:, -1] if reached.shape[1] else 0.0
                # One more column: beyond the last detection precision is 0.
                envelope = np.pad(envelope, ((0, 0), (0, 1)))
                for t, row in enumerate(reached):
                    precision[t, :, 0, a, m] = envelope[t, np.searchsorted(row, params.recThrs)]
        self.eval = {"precision": precision, "recall": recall}


def _ranked_outcomes(results: list[dict], limit: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cumulative true and false positives [T, N], in descending score order."""
    scores = np.concatenate([result["dtScores"][:limit] for result in results])
    order = np.argsort(-scores, kind="mergesort")
    matched = np.concatenate([result["dtMatches"][:, :limit] for result in results], axis=1)
    ignored = np.concatenate([result["dtIgnore"][:, :limit] for result in results], axis=1)
    matched, counted = matched[:, order] != 0, ignored[:, order] == 0
    found = np.cumsum(matched & counted, axis=1).astype(np.float64)
    return found, np.cumsum(~matched & counted, axis=1).astype(np.float64)


def _index(make_index: Any, images: list[dict], annotations: list[dict], category_id: int) -> Any:
    index = make_index()
    index.dataset = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": category_id}],
    }
    index.createIndex()
    return index


def fastest_backend() -> str:
    """Return faster_coco_eval if it is installed, else pycocotools."""
    is_installed = importlib.util.find_spec(FASTER_COCO_EVAL) is not None
    return FASTER_COCO_EVAL if is_installed else PYCOCOTOOLS


def _load_backend(name: str) -> tuple[Any, Any]:
    """Return the types of index and evaluation.

    Raises:
        ValueError: an unknown backend, or one that is not installed.
    """
    if name not in BACKENDS:
        raise ValueError(f"backend is {name!r}, expected one of {', '.join(BACKENDS)}")
    if name == PYCOCOTOOLS:
        return COCO, _OneCategory
    need = "the COCO backend faster_coco_eval needs its package"
    module = optional_packages.import_package(name, "coco", need)
    return module.COCO, module.COCOeval_faster


def _summaries(precision: np.ndarray, recall: np.ndarray) -> list[float]:
    """Return COCO's twelve metrics from pycocotools' [T, R, K, A, M] and [T, K, A, M] arrays."""
    if precision.shape[2] == 0:
        return [NOTHING] * len(SUMMARY_NAMES)
    summary = COCOeval(iouType="bbox")
    summary.eval = {"precision": precision, "recall": recall}
    summary.summarize()
    return [float(value) for value in summary.stats]


class CocoEvaluator(DetectionEvaluator):
    """The twelve metrics of COCO, optionally also those of every category.

    A metric without objects (none of that size, none at all, no image) has the value -1. Crowds
    follow pycocotools: a detection inside a crowd is not a false positive, and a crowd need not be
    detected. Difficult objects count as ordinary ones.

    Args:
        categories: the classes.
        include_metrics_per_category: add `PerformanceByCategory/mAP/<name>`.
        all_metrics_per_category: add the twelve metrics of each category (implies the former).
        super_categories: name -> category names; adds `PerformanceBySuperCategory/<name>`, the
            mean of the mAP of those of its categories that have objects (-1 if none has).
        backend: one of BACKENDS.

    Raises:
        ValueError: an unknown name of a category or backend; the backend is not installed.
    """

    def __init__(
        self,
        categories: Sequence[CategoryLike],
        *,
        include_metrics_per_category: bool = False,
        all_metrics_per_category: bool = False,
        super_categories: Mapping[str, Sequence[str]] | None = None,
        backend: str = PYCOCOTOOLS,
    ):
        super().__init__(categories)
        self._per_category = include_metrics_per_category or all_metrics_per_category
        self._backend = _load_backend(backend)
        self._all_per_category = all_metrics_per_category
        self._super_categories = {k: list(v) for k, v in (super_categories or {}).items()}
        known = set(self.names.values())
        for super_name, members in self._super_categories.items():
            unknown = sorted(set(members) - known)
            if unknown or not members:
                raise ValueError(
                    f"super_categories {super_name!r}: got {unknown or 'no name'}; expected "
                    f"category names: {', '.join(sorted(known))}"
                )

    def evaluate(self) -> dict[str, float]:
        """Return the twelve metrics `DetectionBoxes_...`, then those by category."""
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            arrays = dict(self._evaluate_categories())
            overall = _summaries(
                np.stack([p for p, _ in arrays.values()], 2) if arrays else np.zeros((0,) * 5),
                np.stack([r for _, r in arrays.values()], 1) if arrays else np.zeros((0,) * 4),
            )
            by_category = {
                i: _summaries(arrays[i][0][:, :, np.newaxis], arrays[i][1][:, np.newaxis])
                if i in arrays
                else [NOTHING] * len(SUMMARY_NAMES)
                for i in self.names
            }
        metrics = dict(zip((PREFIX + name for name in SUMMARY_NAMES), overall, strict=True))
        metrics.update(self._named_by_category(by_category))
        metrics.update(self._by_super_category(by_category))
        return metrics

    def _named_by_category(self, by_category: Mapping[int, list[float]]) -> dict[str, float]:
        metrics = {}
        if self._per_category:
            for i, name in self.names.items():
                metrics[f"{PREFIX}PerformanceByCategory/mAP/{name}"] = by_category[i][0]
        if self._all_per_category:
            for i, name in self.names.items():
                for metric, value in zip(SUMMARY_NAMES, by_category[i], strict=True):
                    metrics[f"{PREFIX}{metric.replace('/', ' ')} ByCategory/{name}"] = value
        return metrics

    def _by_super_category(self, by_category: Mapping[int, list[float]]) -> dict[str, float]:
        metrics = {}
        for super_name, members in self._super_categories.items():
            values = [by_category[i][0] for i, name in self.names.items() if name in members]
            present = [value for value in values if value != NOTHING]
            value = float(np.mean(present)) if present else NOTHING
            metrics[f"{PREFIX}PerformanceBySuperCategory/{super_name}"] = value
        return metrics

    def _evaluate_categories(self) -> Iterator[tuple[int, tuple[np.ndarray, np.ndarray]]]:
        """Yield precision [T, R, A, M] and recall [T, A, M] of every category with objects.

        pycocotools stores a dictionary per (image, category, size). One category at a time, with
        the images it occurs in, gives the same numbers in less time and with less memory.
        """
        groundtruth, detections = self._annotations()
        for category_id, objects in sorted(groundtruth.items()):
            found = detections.get(category_id, [])
            images = [{"id": i} for i in sorted({a["image_id"] for a in objects + found})]
            make_index, make_evaluation = self._backend
            evaluation = make_evaluation(
                _index(make_index, images, objects, category_id),
                _index(make_index, images, found, category_id),
                "bbox",
            )
            evaluation.evaluate()
            evaluation.accumulate()
            result = evaluation.eval
            yield category_id, (result["precision"][:, :, 0], result["recall"][:, 0])

    def _annotations(self) -> tuple[dict[int, list[dict]], dict[int, list[dict]]]:
        """Return ground truth and detections as COCO entries, by category; ids start at 1."""
        groundtruth: dict[int, list[dict]] = {}
        detections: dict[int, list[dict]] = {}
        for image_id, (gt, det) in enumerate(self._images(), start=1):
            boxes, areas = _to_coco(gt.boxes)
            areas = np.where(gt.area > 0, gt.area, areas)
            crowds = gt.is_crowd.astype(int).tolist()
            rows: Any = zip(gt.classes.tolist(), boxes, areas.tolist(), crowds, strict=True)
            for category_id, box, area, crowd in rows:
                entry = {"image_id": image_id, "bbox": box, "area": area, "iscrowd": crowd}
                _append(groundtruth, category_id, entry)
            boxes, areas = _to_coco(det.boxes)
            scores = det.scores.tolist()
            rows = zip(det.classes.tolist(), boxes, areas.tolist(), scores, strict=True)
            for category_id, box, area, score in rows:
                entry = {"image_id": image_id, "bbox": box, "area": area, "score": score}
                _append(detections, category_id, entry)
        return groundtruth, detections


def _append(by_category: dict[int, list[dict]], category_id: int, entry: dict) -> None:
    entries = by_category.setdefault(category_id, [])
    entries.append({"id": len(entries) + 1, "category_id": category_id, **entry})


def _to_coco(boxes: np.ndarray) -> tuple[list[list[float]], np.ndarray]:
    """Return boxes [N, 4] as COCO's [x, y, width, height] lists, and their areas [N]."""
    boxes = boxes.astype(np.float64)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    corners_and_sides = [boxes[:, 1], boxes[:, 0], sides[:, 1], sides[:, 0]]
    return np.stack(corners_and_sides, 1).tolist(), box_overlaps.area(boxes)
