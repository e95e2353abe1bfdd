"""The authors' configurations, as they published them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

PATH = Path(__file__).with_suffix(".json.gz")


def texts() -> dict[str, str]:
    """Name, `model11` ... `model92` -> text."""
    with gzip.open(PATH, "rt", encoding="utf-8") as file:
        return dict(json.load(file))


def write(folder: Path) -> None:
    """A file `<name>.config` for each."""
    for name, text in texts().items():
        (folder / f"{name}.config").write_text(text, encoding="utf-8")
