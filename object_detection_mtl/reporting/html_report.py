"""Report of one detector: an HTML page, metrics as JSON, classes as CSV."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from object_detection_mtl.data import image_files
from object_detection_mtl.evaluation.error_analysis import KINDS, TRUE_POSITIVE
from object_detection_mtl.reporting import charts, confusion
from object_detection_mtl.reporting.image_views import ViewMaker, filter_words
from object_detection_mtl.reporting.mistakes import KIND_NAMES
from object_detection_mtl.reporting.page import render_page, write_atomically
from object_detection_mtl.reporting.report_contents import (
    ERROR_THRESHOLDS,
    IOU_THRESHOLDS,
    ReportContents,
)

PAGE_NAME = "report.html"
METRICS_NAME = "metrics.json"
CLASSES_NAME = "classes.csv"

_SECTIONS = (
    ("classes", "Classes"),
    ("curves", "Curves"),
    ("confusion", "Confusion"),
    ("errors", "Errors"),
    ("costs", "TIDE"),
    ("groups", "Groups"),
    ("calibration", "Calibration"),
    ("training", "Training"),
    ("mistakes", "Mistakes"),
    ("missed", "Missed"),
    ("refinement", "Refinement"),
    ("auxiliary", "Tasks"),
    ("gallery", "Gallery"),
)
TIDE_MEANINGS = (
    ("Cls", "right place, wrong class"),
    ("Loc", "right class, IoU between 0.1 and 0.5"),
    ("Both", "wrong class and IoU too low"),
    ("Dupe", "object found with a greater score"),
    ("Bkg", "no object there"),
    ("Miss", "object without a matching detection"),
)
_MAX_REFINED = 24


def write_report(contents: ReportContents, directory: str | Path) -> Path:
    """Write the report's files; each one appears complete or not at all.

    Args:
        contents: contents of the report.
        directory: output directory; created if it does not exist. Earlier files are replaced.

    Returns:
        The path of the page.
    """
    directory = Path(directory)
    page = report_page(contents)
    write_atomically(directory / METRICS_NAME, metrics_json(contents))
    write_atomically(directory / CLASSES_NAME, classes_csv(contents))
    write_atomically(directory / PAGE_NAME, page)
    return directory / PAGE_NAME


def metrics_json(contents: ReportContents) -> str:
    """Return the metrics of all classes together and of each class; null where unknown."""

    def known(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return json.dumps(
        {
            "name": contents.evaluation.name,
            "num_images": len(contents.evaluation.images),
            "metrics": {key: known(value) for key, value in contents.metrics().items()},
            "classes": [
                {key: known(v) if isinstance(v, float) else v for key, v in row.items()}
                for row in class_rows(contents)
            ],
            "notes": list(contents.evaluation.notes),
        },
        indent=1,
        ensure_ascii=False,
    )


def class_rows(contents: ReportContents) -> list[dict[str, Any]]:
    """Return the table of classes."""
    return [
        {
            "class": item.name,
            "id": item.class_id,
            "objects": item.num_objects,
            "detections": item.num_detections,
            "voc_ap": item.voc_ap,
            "coco_ap": item.coco_ap,
            "ap50": item.ap50,
            "ap75": item.ap75,
            "ar100": item.ar100,
            "best_f1": item.best_f1.f1,
            "best_threshold": item.best_f1.threshold,
            "precision": item.best_f1.precision,
            "recall": item.best_f1.recall,
        }
        for item in contents.classes
    ]


def classes_csv(contents: ReportContents) -> str:
    """Return the table of classes as CSV; empty cells where unknown."""
    rows = class_rows(contents)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        unknown = {k for k, v in row.items() if isinstance(v, float) and math.isnan(v)}
        writer.writerow({k: "" if k in unknown else v for k, v in row.items()})
    return buffer.getvalue()


def report_page(contents: ReportContents) -> str:
    """Return the page as HTML."""
    evaluation, options, table = contents.evaluation, contents.options, contents.table
    views = ViewMaker(evaluation.images, table, contents.names, options.min_score)
    refinement = _refinement(contents, views)
    skipped = {"refinement"} if refinement is None else set()
    if not contents.figures:
        skipped.add("auxiliary")
    if not contents.loss_curves:
        skipped.add("training")
    names = contents.names
    coco = contents.coco
    return render_page(
        "report.html.j2",
        {
            "title": f"Evaluation of {evaluation.name}" if evaluation.name else "Evaluation",
            "sections": [(key, name) for key, name in _SECTIONS if key not in skipped],
            "contents": contents,
            "min_score": f"{options.min_score:g}",
            "num_images": len(evaluation.images),
            "num_objects": int(np.count_nonzero(table.counted)),
            "num_detections": len(table.scores),
            "tiles": [
                ("COCO AP", coco["Precision/mAP"]),
                ("COCO AP50", coco["Precision/mAP@.50IOU"]),
                ("COCO AP75", coco["Precision/mAP@.75IOU"]),
                ("COCO AR100", coco["Recall/AR@100"]),
                ("VOC mAP at IoU 0.5", contents.voc_map),
            ],
            "more_metrics": sorted(contents.more_metrics.items()),
            "charts": _charts(contents),
            "matrix_is_part": len(contents.classes) > charts.MAX_MATRIX_CLASSES,
            "confused": [
                (names[true], names[found], count)
                for true, found, count in confusion.most_confused(contents.matrix)
            ],
            "kinds": [KIND_NAMES[kind] for kind in KINDS],
            "error_thresholds": ERROR_THRESHOLDS,
            "error_rows": _error_rows(contents),
            "tide": contents.tide,
            "tide_meanings": TIDE_MEANINGS,
            "mistakes": {
                KIND_NAMES[kind].capitalize(): [views.mistake(item) for item in rows]
                for kind, rows in contents.confident.items()
            },
            "missed": [
                (label.capitalize(), count, [views.mistake(item) for item in rows])
                for label, (count, rows) in contents.missed.items()
            ],
            "refinement": refinement,
            "figures": [_figure(caption, data) for caption, data in contents.figures.items()],
            "gallery_kinds": [
                *((kind, KIND_NAMES[kind]) for kind in KINDS if kind != TRUE_POSITIVE),
                ("none", "none"),
            ],
            "gallery": [_gallery_item(contents, views, number) for number in contents.gallery],
        },
    )


def _charts(contents: ReportContents) -> dict[str, Any]:
    min_score = contents.options.min_score
    return {
        "precision_recall": [
            charts.precision_recall_chart(contents.classes, threshold)
            for threshold in IOU_THRESHOLDS
        ],
        "f1": charts.f1_chart(contents.classes),
        "confusion": charts.confusion_chart(contents.matrix, contents.names),
        "error_kinds": charts.error_kinds_chart(contents.error_counts, ERROR_THRESHOLDS),
        "tide": charts.cost_chart(
            {kind: 100 * value for kind, value in contents.tide.costs.items()},
            "mAP points that each of TIDE's kinds of errors costs",
            "mAP points",
        ),
        "breakdowns": [
            charts.breakdown_chart(rows, title, min_score)
            for title, rows in contents.breakdowns.items()
        ],
        "calibration": [
            charts.calibration_chart(contents.calibration),
            charts.score_histogram(contents.calibration),
        ],
        "training": [
            charts.loss_chart(curves, title) for title, curves in contents.loss_curves.items()
        ],
    }


def _error_rows(contents: ReportContents) -> list[dict[str, Any]]:
    """Return a row for each class that has detections or objects, at every threshold."""
    rows = []
    for number, threshold in enumerate(ERROR_THRESHOLDS):
        for column, item in enumerate(contents.classes):
            if item.num_objects or item.num_detections:
                counts = contents.error_counts[number, column].tolist()
                rows.append({"threshold": threshold, "name": item.name, "counts": counts})
    return rows


def _refinement(contents: ReportContents, views: ViewMaker) -> dict[str, Any] | None:
    changes = contents.refinement
    if changes is None:
        return None
    return {
        "num_detections": changes.num_detections,
        "num_repaired": len(changes.repaired),
        "num_broken": len(changes.broken),
        "chart": charts.refinement_chart(changes),
        "repaired": [views.refined(item) for item in changes.repaired[:_MAX_REFINED]],
        "broken": [views.refined(item) for item in changes.broken[:_MAX_REFINED]],
    }


def _figure(caption: str, data: bytes) -> dict[str, Any]:
    """Return a PNG file for the page; its size keeps the page from moving when it is loaded."""
    with image_files.open_image(data) as image:
        width, height = image.size
    url = f"data:image/png;base64,{base64.b64encode(data).decode('ascii')}"
    return {"caption": caption, "url": url, "width": width, "height": height}


def _gallery_item(contents: ReportContents, views: ViewMaker, number: int) -> dict[str, Any]:
    kinds, classes = filter_words(contents.table, number, contents.options.min_score)
    return {"view": views.whole_image(number), "kinds": kinds, "classes": classes}
