"""ConfigError and helpers for error messages."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class ConfigError(ValueError):
    """An unusable configuration or label map; the message describes the fix."""


MAX_LENGTH = 200  # characters of a name in a message


def shortened(text: str, length: int = MAX_LENGTH) -> str:
    """Return a text for a message, at most `length` characters of it and dots for the rest."""
    return text if len(text) <= length else f"{text[:length]}..."


def quoted(value: object) -> str:
    """Return a value of a file for a message: texts in quotation marks, long ones shortened."""
    return shortened(repr(value), 80)


# Control characters, formatting that reorders other text, line separators, lone surrogates. Joiners
# and marks of direction belong to the spelling of some languages.
_CONTROLS = "\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
_CONTROL = re.compile(f"[{_CONTROLS}]")
_CONTROL_OR_BREAK = re.compile(f"[{_CONTROLS}\t\n]")


def printable(text: str, breaks: bool = False) -> str:
    """Return a text with escapes in place of control characters.

    Args:
        text: a name of a file or class, or a text with such names.
        breaks: keep line breaks and tabs.
    """
    pattern = _CONTROL if breaks else _CONTROL_OR_BREAK
    return pattern.sub(lambda match: ascii(match[0])[1:-1], text)


def bounded(text: str, length: int = 4000) -> str:
    """Return a message that is printed whole unless it quotes something huge: then ends only.

    Characters that would move the cursor of a terminal are escaped; lines are kept.
    """
    if len(text) > length:
        first, last = length * 2 // 3, length // 3
        omitted = f" ...({len(text) - first - last} characters)... "
        text = text[:first] + omitted + text[-last:]
    return printable(text, breaks=True)


def suggestion(name: str, candidates: Iterable[str]) -> str:
    """Return the end of an error message that names the candidates nearest to `name`.

    Empty when no candidate is similar. Case and dashes do not count as differences.
    """
    folded = {candidate.lower(): candidate for candidate in candidates}
    if len(name) > MAX_LENGTH:
        return ""
    near = difflib.get_close_matches(name.lower().replace("-", "_"), folded, n=3, cutoff=0.6)
    if not near:
        return ""
    return "; did you mean " + " or ".join(f'"{folded[match]}"' for match in near) + "?"


def listing(values: Iterable[object], limit: int = 12) -> str:
    """Return comma-separated values for an error message, on one line, at most `limit` of them."""
    items = [shortened(printable(str(value))) for value in values]
    extra = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + extra


def counted(number: int, thing: str) -> str:
    """Return a count with its noun: "1 object", "2 objects"."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
