"""Notes on entries of annotation files that were skipped or replaced."""

from __future__ import annotations

import collections


class EntryNotes:
    """Skipped and replaced entries: counts, and the first places of each kind."""

    def __init__(self) -> None:
        self._counts: collections.Counter[str] = collections.Counter()
        self._places: dict[str, list[str]] = collections.defaultdict(list)

    def __contains__(self, note: str) -> bool:
        return note in self._counts

    def add(self, note: str, place: str) -> None:
        """Count an entry."""
        self._counts[note] += 1
        if len(self._places[note]) < 3:
            self._places[note].append(place)

    def lines(self) -> tuple[str, ...]:
        """Return a line on each kind."""
        return tuple(map(self.describe, self._counts))

    def describe(self, note: str) -> str:
        """Return the line on one kind."""
        return f"{note}: {self._counts[note]} ({self._first(note)})"

    def describe_all(self, note: str) -> str:
        """Return the message for a file whose entries are all of one kind."""
        return f"{note}: all {self._counts[note]} ({self._first(note)}). Correct them"

    def _first(self, note: str) -> str:
        more = "; ..." if self._counts[note] > len(self._places[note]) else ""
        return "; ".join(self._places[note]) + more
