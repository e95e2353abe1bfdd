"""Read labels_voc.json.gz and labels_coco.json.gz: scenes with the authors' labels."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

_DIRECTORY = Path(__file__).parent


class Run(NamedTuple):
    """One call of the authors' converter. The labels are their strings, numbers of three digits."""

    random: bool
    seed: int
    exception: str | None
    windows: np.ndarray  # [W, 4] float64, normalised
    window_text: list[str]
    closeness_text: list[str]


class Scene(NamedTuple):
    name: str
    num_classes: int
    size: tuple[int, int]  # height, width
    absolute_boxes: np.ndarray  # [N, 4] float64
    boxes: np.ndarray  # [N, 4] float64, normalised
    classes: np.ndarray  # [N]
    kept: list[int]
    runs: list[Run]
    mask: np.ndarray | None  # [2, 64, 64], None where both runs fail


@functools.lru_cache(maxsize=1)
def scenes() -> tuple[Scene, ...]:
    return tuple(scene for kind in ("voc", "coco") for scene in _read(kind))


def scene(name: str) -> Scene:
    return next(found for found in scenes() if found.name == name)


def numbers(texts: list[str], num_classes: int) -> np.ndarray:
    """[number of strings, K+1]"""
    return np.array([text.split() for text in texts], float).reshape(-1, num_classes + 1)


def _read(kind: str):
    with gzip.open(_DIRECTORY / f"labels_{kind}.json.gz") as file:
        content = json.load(file)
    for record in content["scenes"]:
        size = (record["height"], record["width"])
        absolute = np.array(record["boxes_abs"], float).reshape(-1, 4)
        masks = [run["edgemask"] for run in record["runs"] if "edgemask" in run]
        yield Scene(
            name=record["name"],
            num_classes=content["num_classes"],
            size=size,
            absolute_boxes=absolute,
            boxes=absolute / [*size, *size],
            classes=np.array(record["classes"], int),
            kept=record["kept"],
            runs=[_run(run) for run in record["runs"]],
            mask=np.array(masks[0]) if masks else None,
        )


def _run(record: dict) -> Run:
    return Run(
        random=record["random"],
        seed=record["python_random_seed"],
        exception=record.get("exception"),
        windows=np.array(record.get("windows", []), float).reshape(-1, 4),
        window_text=record.get("window_labels_text", []),
        closeness_text=record.get("closeness_text", []),
    )
