"""Report of a restore: every variable of model and file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RestoreReport:
    """Result of a restore, by variable name.

    Attributes:
        source: kind of checkpoint.
        loaded: variables of the detector that were loaded.
        missing: requested variables of the detector that the checkpoint lacks.
        unused: variables of the checkpoint that were not loaded.
        mismatched: variables whose shapes differ, as `name: file's shape, model's shape`.
        skipped: mismatched variables, in the same form, whose size depends on the number of
            classes; they stay as initialized.
        kept: variables of the detector that this kind of restore does not change.
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
    """Return the first names and the number of the others."""
    names = tuple(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
