"""Small COCO datasets of real files for tests."""

from __future__ import annotations

import json
from pathlib import Path

CATEGORIES = ({"id": 3, "name": "cat"}, {"id": 90, "name": "dog", "supercategory": "animal"})


def image(number: int, name: str | None = None, size: tuple[int, int] | None = (40, 30)) -> dict:
    """An entry of "images"; `size` is width, height."""
    entry: dict = {"id": number, "file_name": name or f"{number:06d}.jpg"}
    return entry | ({"width": size[0], "height": size[1]} if size else {})


def thing(image_id: int, category: int, *box: float, **more) -> dict:
    """An entry of "annotations"; `box` is x, y, width, height."""
    outline = [[box[0], box[1], box[0] + box[2], box[1], box[0], box[1] + box[3]]]
    return {
        "image_id": image_id,
        "category_id": category,
        "bbox": list(box),
        "segmentation": outline,
        **more,
    }


def write(directory: Path, images: list, annotations: list | None, categories=CATEGORIES) -> Path:
    """An instances file in `directory`."""
    content = {"info": {}, "images": images, "categories": list(categories)}
    if annotations is not None:
        content["annotations"] = annotations
    path = directory / "instances.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def write_images(directory: Path, files: dict[str, bytes]) -> Path:
    """A directory of images; names may hold directories."""
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory
