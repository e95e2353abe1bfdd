"""Values of a COCO file, as the tools that write such files spell them.

Numbers and ids may be texts: an id and a text are equal if their texts are.
"""

from __future__ import annotations

from typing import Any

from object_detection_mtl.config.errors import quoted

_LARGEST = 2.0**53
_NO, _YES = ("", "0", "false", "no"), ("1", "true", "yes")


class InvalidValueError(ValueError):
    """A value is unusable; the message has the value and what was expected."""


def field(item: Any, key: str) -> Any:
    """Return a value of an object; None for anything else."""
    return item.get(key) if isinstance(item, dict) else None


def require_object(item: Any) -> dict[str, Any]:
    """Return an object, or raise a InvalidValueError."""
    if not isinstance(item, dict):
        raise InvalidValueError(f"it is {quoted(item)}, expected an object")
    return item


def id_of(item: Any, key: str) -> int | str:
    """Return an id, an integer or a text; raise a InvalidValueError for anything else."""
    value: Any = require_object(item).get(key)
    if isinstance(value, str) and value and is_text(value):
        return value
    number = integer(value)
    if number is None:
        raise InvalidValueError(f"{key} is {quoted(value)}, expected an integer or a text")
    return number


def is_text(value: str) -> bool:
    """Return whether UTF-8 has all characters: JSON can spell half of a pair of surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def key_of(value: Any) -> str | None:
    """Return the text by which an id joins; None for anything but integers and texts."""
    if isinstance(value, str):
        return value or None
    number = integer(value)
    return None if number is None else str(number)


def number(value: Any, *, accept_bool: bool = False) -> float | None:
    """Return a finite number, also one written as text; None for anything else."""
    if isinstance(value, bool):
        return float(value) if accept_bool else None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    # Python reads NaN and infinity in JSON.
    if not isinstance(value, int | float) or not -_LARGEST <= value <= _LARGEST:
        return None
    return float(value)


def integer(value: Any) -> int | None:
    """Return an integer, also a whole float or the text of an integer; None for anything else."""
    if isinstance(value, str):
        is_number = value.isascii() and value.isdigit() and len(value) < 19
        # "001" is another id than 1.
        return int(value) if is_number and str(int(value)) == value else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def flag(value: Any) -> bool | None:
    """Return a flag, also one written as text; absent means False; None for anything else."""
    if value is None:
        return False
    if isinstance(value, str):
        text = value.strip().lower()
        return False if text in _NO else True if text in _YES else None
    found = number(value, accept_bool=True)
    return bool(found) if found in (0, 1) else None


def named(item: Any) -> str:
    """Return the id of an entry for a message."""
    return f" (id {quoted(item['id'])})" if isinstance(item, dict) and "id" in item else ""
