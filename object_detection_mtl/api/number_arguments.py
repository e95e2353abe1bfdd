"""Checks of the types of numbers that a program gives."""

from __future__ import annotations

import numbers
from typing import Any


def require_whole_numbers(**arguments: Any) -> None:
    """Check that arguments are whole numbers.

    Args:
        **arguments: name of the argument -> what was given; 2.0 and "2" are no whole numbers.

    Raises:
        ValueError: one is not.
    """
    _require(numbers.Integral, "a whole number", arguments)


def require_numbers(**arguments: Any) -> None:
    """Check that arguments are numbers, as `require_whole_numbers` does.

    Raises:
        ValueError: one is not.
    """
    _require(numbers.Real, "a number", arguments)


def _require(kind: type, words: str, arguments: dict[str, Any]) -> None:
    for name, value in arguments.items():
        if isinstance(value, bool) or not isinstance(value, kind):
            raise ValueError(
                f"{name} is {value!r} of the type {type(value).__name__}; expected {words}"
            )
