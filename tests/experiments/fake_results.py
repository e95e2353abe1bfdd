"""Results of runs that never ran, as JSON files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from object_detection_mtl.experiments import dataset_splits
from object_detection_mtl.experiments.run_results import COCO_AP, MEAN_AP

CLASS = "PascalBoxes_PerformanceByCategory/AP@0.5IOU/"


def evaluation(mean_ap: float, images: int = 4) -> dict[str, Any]:
    """Metrics of one evaluation."""
    metrics = {
        MEAN_AP: mean_ap,
        COCO_AP: mean_ap / 2,
        f"{CLASS}lid": mean_ap,
        f"{CLASS}pot": None,
        "ErrorAnalysis/TruePositive": 7.0,
        "ErrorAnalysis_ByCategory/TruePositive/lid": 7.0,
        "mtl/foreground_iou": 0.5,
    }
    groups = {"1": {"images": 3.0, "mAP@0.5": mean_ap}, "2": {"images": 1.0, "mAP@0.5": None}}
    return {"metrics": metrics, "by_number_of_classes": groups, "images": images}


def write(
    directory: Path,
    variant: str,
    mean_ap: float | None,
    *,
    rate: str = "0.1",
    seed: int = 1,
    split: str = "validation",
    main_logits: float | None = None,
    cpu_seconds: float | None = 120.0,
    curves: Mapping[str, list[float | None]] | None = None,
) -> Path:
    """Write the JSON of one run; without `mean_ap` its training diverged."""
    content: dict[str, Any] = {
        "run": {"variant": variant, "rate": rate, "seed": seed, "steps": 2, "overrides": []},
        "split": split,
        "costs": [
            {"phase": "training", "cpu_seconds": cpu_seconds, "wall_seconds": 60.0, "exit_code": 0},
            {"phase": "evaluation", "cpu_seconds": 9.0, "wall_seconds": 9.0, "exit_code": 0},
        ],
        "diverged": "Loss/total_loss became NaN" if mean_ap is None else None,
    }
    if mean_ap is not None:
        content["curves"] = {
            "steps": [1, 2],
            "values": {"gradient_norm": [1.0, 3.0], **(curves or {})},
        }
        content["evaluations"] = {"as trained": evaluation(mean_ap)}
    if main_logits is not None:
        content["evaluations"]["main logits"] = evaluation(main_logits)
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{variant}__lr{rate}__seed{seed}__{split}.json"
    path.write_text(json.dumps(content))
    return path


def dataset(directory: Path) -> dataset_splits.Dataset:
    """A dataset whose files do not exist."""
    records = {split: directory / f"{split}.record" for split in ("train", "validation", "test")}
    sizes = dict.fromkeys(records, 1)
    return dataset_splits.Dataset("d", ("a", "b"), directory / "map.pbtxt", records, sizes)
