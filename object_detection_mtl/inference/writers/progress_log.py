"""What a run over pictures has found so far, on disk: so that it can go on after any kind of end.

    <output_dir>/progress.jsonl

The first line says which run it is, each other one holds what one picture gave. A line is written
when its picture is done, drawing included. The last one may be cut off, where the machine or the
process ended while it was written: its picture is looked at again.

Lines stay on disk; in memory there are eight bytes for each picture, the place of its line.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from absl import logging

NAME = "progress.jsonl"
_NOT_DONE = -1


def identity(model: str, files: Iterable[str], **options: Any) -> dict[str, Any]:
    """What two runs have in common if the one can go on where the other ended."""
    digest = hashlib.sha256("\0".join(files).encode("utf-8", "surrogateescape")).hexdigest()
    return {"model": model, "files": digest, **options}


class Journal:
    """The journal of one run; `with` closes it.

    Attributes:
        num_done: pictures in it.
        last: the entry that was written last, or None.
    """

    def __init__(
        self,
        directory: Path,
        run: Mapping[str, Any],
        is_kept: Callable[[Mapping[str, Any]], bool] = lambda entry: True,
    ) -> None:
        """Opens the journal in a directory, which exists, or begins one.

        That of another run is given up, with a warning.

        Args:
            run: of `identity`.
            is_kept: whether what an entry tells of is still there. The first of which that is not
                so is given up with all that follow.

        Raises:
            ValueError: another process is at it.
        """
        self.path = directory / NAME
        self.num_done = 0
        self.last: Mapping[str, Any] | None = None
        self._lines = array("q")
        self.path.touch()
        self._file = self.path.open("r+b")
        self._lock()
        self._file.truncate(self._read(dict(run), is_kept))
        self._file.seek(0, 2)
        if not self._file.tell():
            self._write(run)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise ValueError(
                f"another run is writing to {str(self.path.parent)!r}; wait for it or choose "
                "another --output_dir"
            ) from None
        except OSError:  # a file system without locks
            pass

    def _read(self, run: dict[str, Any], is_kept: Callable[[Mapping[str, Any]], bool]) -> int:
        """Notes where the lines are; returns where the good ones end."""
        end = 0
        for line in self._file:
            entry = _parsed(line)
            if end == 0 and entry is not None and entry != run:
                logging.warning(
                    "%s is of a run with another model, other pictures or options; starting anew",
                    self.path,
                )
                return 0
            if entry is None or (end > 0 and not is_kept(entry)):
                break
            if end > 0:
                self._note(entry, end)
            end += len(line)
        return end

    def _note(self, entry: Mapping[str, Any], place: int) -> None:
        number = entry["image"]["id"]
        missing = number - len(self._lines)
        if missing > 0:
            self._lines.extend([_NOT_DONE] * missing)
        self._lines[number - 1] = place
        self.num_done += 1
        self.last = entry

    def is_done(self, number: int) -> bool:
        """Whether the picture of that number, from 1, has an entry."""
        return number <= len(self._lines) and self._lines[number - 1] != _NOT_DONE

    def add(self, entry: Mapping[str, Any]) -> None:
        """Writes what one picture gave."""
        self._note(entry, self._file.tell())
        self._write(entry)

    def _write(self, entry: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()

    def entries(self) -> Iterator[dict[str, Any]]:
        """All entries by the pictures' numbers, read from the disk."""
        with self.path.open("rb") as file:
            for place in self._lines:
                if place != _NOT_DONE:
                    if place != file.tell():
                        file.seek(place)
                    yield json.loads(file.readline())

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


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line's entry; None if it was cut off."""
    if not line.endswith(b"\n"):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None
