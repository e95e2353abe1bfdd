"""Image ids of the dataset that detections are made for.

pycocotools' `loadRes` takes detections only if their image ids are those of the annotations.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

_logger = logging.getLogger(__name__)


def read_image_ids(path: str | os.PathLike[str]) -> dict[str, int]:
    """Return file name -> image id of annotations in COCO's format.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it is not JSON in COCO's format.
    """
    path = Path(path).expanduser()
    try:
        images = json.loads(path.read_text(encoding="utf-8"))["images"]
        return {str(image["file_name"]): int(image["id"]) for image in images}
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; expected annotations in JSON") from None
    except (UnicodeDecodeError, json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: expected annotations in COCO's format, with images that have file_name and "
            f"id ({type(error).__name__}: {error})"
        ) from None


def with_source_ids(
    entries: Iterable[Mapping[str, Any]], ids: Mapping[str, int]
) -> Iterator[dict[str, Any]]:
    """Yield entries of `coco_results.image_result` with the ids of the dataset.

    An image is found by its file name, by the end of its path, or, from a record, by its source_id.
    Images that the dataset lacks are skipped with a warning.

    Args:
        entries: results of images.
        ids: result of `read_image_ids`.
    """
    by_number = {str(number): number for number in ids.values()}
    missing: list[str] = []
    for entry in entries:
        image = entry["image"]
        name = str(image["file_name"])
        found = _by_path(name, ids)
        if found is None:
            found = by_number.get(str(image.get("source_id", "")))
        if found is None:
            missing.append(name)
            continue
        yield {
            **entry,
            "image": {**image, "id": found},
            "detections": [{**row, "image_id": found} for row in entry["detections"]],
        }
    if missing:
        _logger.warning(
            "%d images are not in the annotations file, so their detections are not written: %s",
            len(missing),
            ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else ""),
        )


def _by_path(name: str, ids: Mapping[str, int]) -> int | None:
    """Return the id of the longest end of a path that is a file name of the dataset."""
    parts = Path(name).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((ids[end] for end in ends if end in ids), None)
