"""Resumable progress log of a detection run.

    <output_dir>/progress.jsonl

The first line identifies the run, each other line holds the result of one image. A line is written
when its image is done, drawing included. The last line may be truncated, if the process or machine
stopped while it was written; its image is detected on again.

The lines stay on disk; memory holds eight bytes an image, the offset of its line.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import logging

PROGRESS_FILE = "progress.jsonl"
_NOT_DONE = -1
# Largest number of images without entry before one that has an entry.
_LARGEST_GAP = 10_000_000


def run_identity(model_version: str, files: Iterable[str], **options: Any) -> dict[str, Any]:
    """Return what two runs must have in common for one to resume the other."""
    digest = hashlib.sha256("\0".join(files).encode("utf-8", "surrogateescape")).hexdigest()
    return {"model": model_version, "files": digest, **options}


class ProgressLog:
    """The progress log of one run; a context manager that closes it.

    Attributes:
        path: The file.
        num_done: Number of images in the log.
        last: The last entry, or None.
    """

    def __init__(
        self,
        directory: Path,
        identity: Mapping[str, Any],
        is_kept: Callable[[Mapping[str, Any]], bool] = lambda entry: True,
    ) -> None:
        """Open the log in an existing directory, or start one.

        The log of another run is discarded, with a warning.

        Args:
            directory: Directory of the log.
            identity: From `run_identity`.
            is_kept: Return whether the output of an entry still exists. The first entry without
                output is discarded with all that follow.

        Raises:
            ValueError: Another process writes to the log.
        """
        self.path = directory / PROGRESS_FILE
        self.num_done = 0
        self.last: Mapping[str, Any] | None = None
        self._offsets = array("q")
        self.path.touch()
        self._file = self.path.open("r+b")
        self._lock()
        self._file.truncate(self._read_entries(dict(identity), is_kept))
        self._file.seek(0, 2)
        if not self._file.tell():
            self._write_line(identity)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(
                f"another run is writing to {str(self.path.parent)!r}; wait for it or choose "
                "another --output_dir"
            ) from None
        except OSError:  # A file system without locks.
            pass

    def _read_entries(
        self, identity: dict[str, Any], is_kept: Callable[[Mapping[str, Any]], bool]
    ) -> int:
        """Note the offset of each line; return the end of the valid ones."""
        end = 0
        for line in self._file:
            entry = _parse_line(line)
            if end == 0 and entry is not None and entry != identity:
                logging.warning(
                    "%s is from a run with another model, other input or options; starting again",
                    self.path,
                )
                return 0
            if entry is None:
                break
            if end > 0 and not (self._is_valid(entry) and is_kept(entry)):
                break
            if end > 0:
                self._note_entry(entry, end)
            end += len(line)
        return end

    def _is_valid(self, entry: Mapping[str, Any]) -> bool:
        """Return whether an entry has a plausible number of its own; a damaged one may not."""
        image = entry.get("image")
        number = image.get("id") if isinstance(image, dict) else None
        if type(number) is not int or not 1 <= number <= len(self._offsets) + _LARGEST_GAP:
            return False
        return not self.is_done(number)

    def _note_entry(self, entry: Mapping[str, Any], offset: int) -> None:
        number = entry["image"]["id"]
        missing = number - len(self._offsets)
        if missing > 0:
            self._offsets.extend([_NOT_DONE] * missing)
        self._offsets[number - 1] = offset
        self.num_done += 1
        self.last = entry

    def is_done(self, number: int) -> bool:
        """Return whether the image of a number, from 1, has an entry."""
        return number <= len(self._offsets) and self._offsets[number - 1] != _NOT_DONE

    def add(self, entry: Mapping[str, Any]) -> None:
        """Write the result of one image."""
        self._note_entry(entry, self._file.tell())
        self._write_line(entry)

    def _write_line(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield all entries in the order of the image numbers, read from disk."""
        with self.path.open("rb") as file:
            for offset in self._offsets:
                if offset != _NOT_DONE:
                    if offset != file.tell():
                        file.seek(offset)
                    yield json.loads(file.readline())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def remove(self) -> None:
        """Delete the log of a complete run."""
        self.close()
        self.path.unlink()

    def __enter__(self) -> ProgressLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _parse_line(line: bytes) -> dict[str, Any] | None:
    """Return the entry of a line; None if the line is truncated or damaged."""
    if line.endswith(b"\n"):
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            return entry if isinstance(entry, dict) else None
    return None
