"""Small VOC directories of real files for tests."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# The directory of real images beside the repository; tests that need it are skipped without it.
SHARED = Path(os.environ.get("ODMTL_SHARED", Path(__file__).parents[3] / "shared"))
needs_shared_data = pytest.mark.skipif(
    not (SHARED / "data" / "bccd").is_dir(), reason="needs the directory of real images"
)


def block_image(width: int = 40, height: int = 30, mode: str = "RGB", seed: int = 0) -> Image.Image:
    """An image of coarse blocks."""
    blocks = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3))
    pixels = np.kron(blocks, np.ones((8, 8, 1)))[:height, :width].astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def encoded(image: Image.Image, format_name: str = "JPEG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_name, **options)
    return buffer.getvalue()


def thing(name: str, ymin, xmin, ymax, xmax, extra: str = "") -> str:
    """One <object>, elements in an order of our own."""
    return (
        f"<object><bndbox><ymax>{ymax}</ymax><xmin>{xmin}</xmin><ymin>{ymin}</ymin>"
        f"<xmax>{xmax}</xmax></bndbox>{extra}<name>{name}</name></object>"
    )


def annotation(
    filename: str = "a.jpg", objects: str = "", size: tuple[int, int] | None = (40, 30)
) -> str:
    """An annotation file; `size` is width, height."""
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height></size>" if size else ""
    return f"<annotation>{objects}<filename>{filename}</filename>{stated}</annotation>"


def make_voc_directory(
    root: Path,
    annotations: dict[str, str],
    images: dict[str, bytes],
    sets: dict[str, str] | None = None,
) -> Path:
    """A VOC directory; keys of `annotations` are names without .xml."""
    (root / "Annotations").mkdir(parents=True)
    (root / "JPEGImages").mkdir()
    for name, text in annotations.items():
        (root / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8")
    for name, data in images.items():
        (root / "JPEGImages" / name).write_bytes(data)
    if sets is not None:
        (root / "ImageSets" / "Main").mkdir(parents=True)
        for name, text in sets.items():
            (root / "ImageSets" / "Main" / f"{name}.txt").write_text(text, encoding="utf-8")
    return root
