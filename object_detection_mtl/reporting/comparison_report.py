"""Report of a comparison: an HTML page, differences as JSON and CSV, a figure as PNG."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from PIL import Image

from object_detection_mtl import visualization
from object_detection_mtl.evaluation.error_analysis import KINDS
from object_detection_mtl.reporting import charts
from object_detection_mtl.reporting.bootstrap import Interval
from object_detection_mtl.reporting.detector_comparison import DetectorComparison, Difference
from object_detection_mtl.reporting.evaluated_images import EvaluatedImage
from object_detection_mtl.reporting.image_views import ViewMaker
from object_detection_mtl.reporting.mistakes import KIND_NAMES
from object_detection_mtl.reporting.page import render_page, write_atomically
from object_detection_mtl.reporting.report_contents import ERROR_THRESHOLDS, IOU_THRESHOLDS
from object_detection_mtl.reporting.tide_errors import TIDE_KINDS

PAGE_NAME = "comparison.html"
DIFFERENCES_NAME = "differences.json"
CLASSES_NAME = "differences.csv"
METRIC_NAMES = (
    ("COCO AP", "DetectionBoxes_Precision/mAP"),
    ("AP50", "DetectionBoxes_Precision/mAP@.50IOU"),
    ("AP75", "DetectionBoxes_Precision/mAP@.75IOU"),
    ("AR100", "DetectionBoxes_Recall/AR@100"),
    ("VOC mAP", "PascalBoxes_Precision/mAP@0.5IOU"),
    ("calibration error", "Calibration/ExpectedError"),
)
_ERROR_SCORE = 0.5
_MAX_IMAGES = 36
_SECTIONS = (
    ("summary", "Summary"),
    ("classes", "Classes"),
    ("curves", "Curves"),
    ("errors", "Errors"),
    ("costs", "TIDE"),
    ("groups", "Groups"),
    ("images", "Images"),
)


def write_comparison(
    comparison: DetectorComparison, directory: str | Path, num_resamples: int
) -> Path:
    """Write the files of a comparison, each complete or not at all; return the page's path.

    Args:
        comparison: result of `detector_comparison.compare_detectors`.
        directory: output directory; created if it does not exist.
        num_resamples: number of resamples of the bootstrap, for the text.
    """
    directory = Path(directory)
    page = comparison_page(comparison, num_resamples)
    write_atomically(directory / DIFFERENCES_NAME, differences_json(comparison))
    write_atomically(directory / CLASSES_NAME, differences_csv(comparison))
    write_atomically(directory / PAGE_NAME, page)
    return directory / PAGE_NAME


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _interval_fields(interval: Interval) -> dict[str, float | None]:
    return {
        "difference": _known(interval.difference),
        "low": _known(interval.low),
        "high": _known(interval.high),
    }


def differences_json(comparison: DetectorComparison) -> str:
    """Return the metrics of the detectors and the differences; null where unknown."""
    names = comparison.detectors[0].runs[0].names
    return json.dumps(
        {
            "detectors": [
                {
                    "name": detector.name,
                    "runs": len(detector.runs),
                    "metrics": {k: _known(v) for k, v in detector.metrics().items()},
                }
                for detector in comparison.detectors
            ],
            "differences": [
                {
                    "name": difference.name,
                    "reference": comparison.detectors[0].name,
                    "level": difference.mean.level,
                    "voc_map": _interval_fields(difference.mean),
                    "classes": {
                        names[class_id]: _interval_fields(interval)
                        for class_id, interval in difference.by_class.items()
                    },
                }
                for difference in comparison.differences
            ],
        },
        indent=1,
        ensure_ascii=False,
    )


def differences_csv(comparison: DetectorComparison) -> str:
    """Return a row for each class and detector; empty cells where unknown."""
    names = comparison.detectors[0].runs[0].names
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["detector", "class", "difference", "low", "high"])
    for difference in comparison.differences:
        for class_id, interval in difference.by_class.items():
            values = _interval_fields(interval).values()
            cells = ["" if value is None else value for value in values]
            writer.writerow([difference.name, names[class_id], *cells])
    return buffer.getvalue()


def comparison_page(comparison: DetectorComparison, num_resamples: int) -> str:
    """Return the page as HTML."""
    detectors = comparison.detectors
    names = [detector.name for detector in detectors]
    first = detectors[0].runs[0]
    return render_page(
        "comparison.html.j2",
        {
            "title": "Comparison of " + ", ".join(names),
            "sections": _SECTIONS,
            "names": names,
            "num_images": len(first.evaluation.images),
            "num_resamples": num_resamples,
            "level": f"{100 * comparison.differences[0].mean.level:g}",
            "min_score": f"{comparison.options.min_score:g}",
            "notes": comparison.notes(),
            "metric_names": METRIC_NAMES,
            "summary": _summary(comparison),
            "charts": {
                "differences": [
                    charts.differences_chart(difference, first.names)
                    for difference in comparison.differences
                ],
                "curves": _curves(comparison),
            },
            "classes": _class_rows(comparison),
            "kinds": [KIND_NAMES[kind] for kind in KINDS],
            "error_score": f"{_ERROR_SCORE:g}",
            "error_rows": _error_rows(comparison),
            "tide_kinds": TIDE_KINDS,
            "tide_rows": [
                (d.name, [100 * d.metrics()[f"TIDE/{kind}"] for kind in TIDE_KINDS])
                for d in detectors
            ],
            "groups": _group_rows(comparison),
            "image_sections": _image_sections(comparison),
        },
    )


def _shown(interval: Interval) -> dict[str, Any]:
    """Return text, class and sorting value of a difference."""
    if math.isnan(interval.difference):
        return {"text": "\u2013", "verdict": "", "sort_value": ""}
    verdict = ""
    if interval.excludes_zero:
        verdict = "better" if interval.difference > 0 else "worse"
    text = f"{interval.difference:+.3f} ({interval.low:+.3f} to {interval.high:+.3f})"
    return {"text": text, "verdict": verdict, "sort_value": interval.difference}


def _summary(comparison: DetectorComparison) -> list[dict[str, Any]]:
    rows = []
    intervals = [None, *(difference.mean for difference in comparison.differences)]
    for detector, interval in zip(comparison.detectors, intervals, strict=True):
        shown = {"text": "reference", "verdict": "", "sort_value": 0}
        if interval is not None:
            shown = _shown(interval)
        metrics = detector.metrics()
        rows.append(
            {
                "name": detector.name,
                "runs": len(detector.runs),
                "cells": [metrics[key] for _, key in METRIC_NAMES],
                "difference": shown["text"],
                "verdict": shown["verdict"],
                "sort_value": shown["sort_value"],
            }
        )
    return rows


def _class_rows(comparison: DetectorComparison) -> list[dict[str, Any]]:
    values = list(zip(*(d.class_aps() for d in comparison.detectors), strict=True))
    return [
        {
            "name": item.name,
            "num_objects": item.num_objects,
            "cells": values[number],
            "differences": [_shown(d.by_class[item.class_id]) for d in comparison.differences],
        }
        for number, item in enumerate(comparison.detectors[0].runs[0].classes)
    ]


def _curves(comparison: DetectorComparison) -> list[Markup]:
    """Return charts of the mean curves of the detectors; of several runs the mean."""

    def means(mean_of: Callable[..., np.ndarray], *arguments: float) -> dict[str, np.ndarray]:
        return {
            detector.name: np.mean([mean_of(run.classes, *arguments) for run in detector.runs], 0)
            for detector in comparison.detectors
        }

    made = [
        charts.detectors_chart(
            means(charts.mean_precision, threshold),
            f"Precision and recall at IoU {threshold}",
            "recall",
            "precision",
        )
        for threshold in IOU_THRESHOLDS
    ]
    f1 = means(charts.mean_f1)
    return [*made, charts.detectors_chart(f1, "F1 at IoU 0.5", "score threshold", "F1")]


def _error_rows(comparison: DetectorComparison) -> list[tuple[str, list[float]]]:
    place = ERROR_THRESHOLDS.index(_ERROR_SCORE)
    return [
        (
            detector.name,
            np.mean([run.error_counts[place].sum(axis=0) for run in detector.runs], 0).tolist(),
        )
        for detector in comparison.detectors
    ]


def _group_rows(comparison: DetectorComparison) -> list[dict[str, Any]]:
    rows = []
    for title, groups in comparison.detectors[0].runs[0].breakdowns.items():
        for place, group in enumerate(groups):
            values = [
                d.mean([run.breakdowns[title][place].mean_ap for run in d.runs])
                for d in comparison.detectors
            ]
            name = f"{title}: {group.label}"
            rows.append({"name": name, "num_objects": group.num_objects, "cells": values})
    return rows


def _image_sections(comparison: DetectorComparison) -> list[dict[str, Any]]:
    """Return the images on which each detector is better or worse; of several runs the first."""
    min_score = comparison.options.min_score
    makers = []
    for detector in comparison.detectors:
        run = detector.runs[0]
        makers.append(ViewMaker(run.evaluation.images, run.table, run.names, min_score))
    sections = []
    reference = comparison.detectors[0].name
    for difference, maker in zip(comparison.differences, makers[1:], strict=True):
        for title, numbers, count in (
            (
                f"{difference.name} is better",
                difference.best_images(_MAX_IMAGES),
                int(np.count_nonzero(difference.image_gains > 0)),
            ),
            (
                f"{reference} is better than {difference.name}",
                difference.worst_images(_MAX_IMAGES),
                int(np.count_nonzero(difference.image_gains < 0)),
            ),
        ):
            pairs = [_pair(makers[0], maker, difference, number) for number in numbers]
            sections.append({"title": title, "count": count, "pairs": pairs})
    return sections


def _pair(first: ViewMaker, other: ViewMaker, difference: Difference, number: int) -> dict:
    views = [first.whole_image(number), other.whole_image(number)]
    return {
        "views": views,
        "image_id": views[0].caption[0],
        "text": f"by {abs(difference.image_gains[number]):.2f}",
    }


def write_figure(comparison: DetectorComparison, path: str | Path, num_images: int = 6) -> int:
    """Write the images on which the second detector gains most: a row each, detectors side by side.

    As in the paper: the reference on the left. Images that cannot be read are skipped. If it gains
    on none, the figure has the first images.

    Returns:
        Number of images on which it gains.

    Raises:
        ValueError: no image can be read.
    """
    difference = comparison.differences[0]
    sets = [detector.runs[0].evaluation for detector in comparison.detectors]
    names = comparison.detectors[0].runs[0].names
    rows: list[Image.Image] = []
    gaining = difference.best_images(len(sets[0].images))
    for number in gaining or range(len(sets[0].images)):
        pixels = _pixels(sets[0].images[number])
        if pixels is None:
            continue
        drawn = [
            _drawn(pixels, evaluation.images[number], names, comparison.options.min_score)
            for evaluation in sets
        ]
        titles = [detector.name for detector in comparison.detectors]
        rows.append(Image.fromarray(visualization.side_by_side(drawn, titles=titles)))
        if len(rows) == num_images:
            break
    if not rows:
        raise ValueError(
            "--figure: no image can be read; the images of a COCO file are found with --image_dir"
        )
    width, height = max(row.width for row in rows), sum(row.height for row in rows)
    figure = Image.new("RGB", (width, height), "white")
    top = 0
    for row in rows:
        figure.paste(row, (0, top))
        top += row.height
    buffer = io.BytesIO()
    figure.save(buffer, "PNG")
    write_atomically(path, buffer.getvalue())
    return len(gaining)


def _pixels(image: EvaluatedImage) -> np.ndarray | None:
    if image.read_bytes is None:
        return None
    try:
        return image.decode()
    except (OSError, ValueError):
        return None


def _drawn(
    pixels: np.ndarray, image: EvaluatedImage, names: dict[int, str], min_score: float
) -> np.ndarray:
    height, width = pixels.shape[:2]
    found = image.detections
    return visualization.draw_boxes(
        pixels,
        found.boxes / [height, width, height, width],
        found.classes,
        found.scores,
        names=names,
        min_score=min_score,
        max_boxes=20,
    )
