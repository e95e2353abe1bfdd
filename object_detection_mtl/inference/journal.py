"""What a run over files has found so far, on disk: so that it can go on after any kind of end.

    <output_dir>/progress.jsonl

The first line says which run it is, each other one holds what one picture gave. A line is written
when its picture is done, drawing included. The last one may be cut off, where the machine or the
process ended while it was written: its picture is looked at again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from absl import logging

NAME = "progress.jsonl"


def identity(model: str, files: Iterable[str], **options: Any) -> dict[str, Any]:
    """What two runs have in common if the one can go on where the other ended."""
    digest = hashlib.sha256("\0".join(files).encode("utf-8", "surrogateescape")).hexdigest()
    return {"model": model, "files": digest, **options}


class Journal:
    """The journal of one run; `with` closes it."""

    def __init__(self, directory: Path, run: Mapping[str, Any]) -> None:
        """Opens the journal in a directory, which exists, or begins one.

        That of another run is given up, with a warning.

        Args:
            run: of `identity`.
        """
        self.path = directory / NAME
        self.entries = self._read(dict(run))
        # What is kept is written anew: a line that was cut off must not be continued.
        incomplete = self.path.with_name(f"{NAME}.incomplete")
        with incomplete.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(entry) + "\n" for entry in (dict(run), *self.entries))
        os.replace(incomplete, self.path)
        self._file = self.path.open("a", encoding="utf-8")

    def _read(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        lines = self.path.read_text(encoding="utf-8", errors="replace").split("\n")
        entries = []
        for line in lines[:-1]:  # after the last end of line there is nothing, or a cut-off one
            try:
                entries.append(json.loads(line))
            except ValueError:
                break
        if not entries:
            return []
        if entries[0] != run:
            logging.warning(
                "%s is of a run with another model, other pictures or options; starting anew",
                self.path,
            )
            return []
        return entries[1:]

    def add(self, entry: Mapping[str, Any]) -> None:
        """Writes what one picture gave."""
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def remove(self) -> None:
        """The run is complete."""
        self.close()
        self.path.unlink()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
