"""What a user is told about a configuration, and how near misses are found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ConfigError(ValueError):
    """A configuration or label map that cannot be used; the message says what to change."""


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """The end of an error message that names what `name` was probably meant to be.

    Empty when nothing in `candidates` looks like it. Case and dashes are forgiven.
    """
    folded = {candidate.lower(): candidate for candidate in candidates}
    near = difflib.get_close_matches(name.lower().replace("-", "_"), folded, n=3, cutoff=0.6)
    if not near:
        return ""
    return "; did you mean " + " or ".join(f'"{folded[match]}"' for match in near) + "?"


def listing(values: Iterable[object], limit: int = 12) -> str:
    """Comma-separated values for an error message, cut after `limit`."""
    items = [str(value) for value in values]
    extra = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + extra
