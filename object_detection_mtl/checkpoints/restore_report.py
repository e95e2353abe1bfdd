"""What a restore did, or would do: every variable of the model and of the file in one group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class RestoreReport:
    """What a restore did, by variable name.

    Attributes:
        source: kind of checkpoint.
        loaded: the detector's variables that got a value.
        missing: its variables that were asked for and are not in the checkpoint.
        unused: the checkpoint's variables that went nowhere.
        mismatched: variables whose shapes differ, as `name: file's shape, model's shape`.
        skipped: those of them that are sized for another number of classes, in the same form;
            they stay as initialised.
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
        """A line per group: how many, and the first names; or with `full` a line per name."""
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
        """The groups with all their names, for `json.dumps`."""
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
            ("left as initialised", self.kept),
            ("unused in the checkpoint", self.unused),
        )


def first_names(names: Iterable[str], limit: int = 3) -> str:
    """The first names, and how many more there are."""
    names = tuple(names)
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
