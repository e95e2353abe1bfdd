"""Report of a restore: every variable of model and file in one group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RestoreReport:
    """Result of a restore, by variable name.

    Attributes:
        source: kind of checkpoint.
        loaded: the detector's variables that got a value.
        missing: its variables that were asked for and are not in the checkpoint.
        unused: the checkpoint's variables that no variable of the detector got.
        mismatched: variables whose shapes differ, as `name: file's shape, model's shape`.
        skipped: those of them that are sized for another number of classes, in the same form;
            they stay as initialized.
        kept: the detector's variables that this kind of restore leaves as they are.
    """

    source: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: tuple[str, ...]
    skipped: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    def table(self, *, full: bool = False) -> str:
        """Return a line for each group with its first names; with `full` a line for each name."""
        lines = [f"weights from a {self.source}"]
        for title, names in self._rows():
            if not names:
                continue
            lines.append(
                f"  {title:<26}{len(names):5d}  {'' if full else first_names(names)}".rstrip()
            )
            if full:
                lines += [f"      {name}" for name in names]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the groups with all their names, for `json.dumps`."""
        return {
            "source": self.source,
            "loaded": list(self.loaded),
            "missing": list(self.missing),
            "mismatched": list(self.mismatched),
            "skipped": list(self.skipped),
            "kept": list(self.kept),
            "unused": list(self.unused),
        }

    def _rows(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (
            ("loaded", self.loaded),
            ("missing in the checkpoint", self.missing),
            ("of another shape", self.mismatched),
            ("for other classes", self.skipped),
            ("kept as initialized", self.kept),
            ("unused in the checkpoint", self.unused),
        )


def first_names(names: Iterable[str], limit: int = 3) -> str:
    """Return the first names, and how many more there are."""
    names = tuple(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
