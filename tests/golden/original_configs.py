"""The authors' published configurations."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

PATH = Path(__file__).with_suffix(".json.gz")


def texts() -> dict[str, str]:
    """Return name, `model11` ... `model92` -> text."""
    with gzip.open(PATH, "rt", encoding="utf-8") as file:
        return dict(json.load(file))


def write(directory: Path) -> None:
    """Write a file `<name>.config` for each configuration."""
    for name, text in texts().items():
        (directory / f"{name}.config").write_text(text, encoding="utf-8")
